"""Activation checkpointing: blocks forget their activations and compute them again in the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Place
from harness.strategies.techniques import Adapted, techniques

if TYPE_CHECKING:
    from torch import nn


@techniques.register("checkpointing", equivalence="exact", source="https://arxiv.org/abs/1604.06174")
def checkpointing(model: nn.Module, place: Place) -> Adapted:
    """Every block keeps its input only and computes the rest again in the backward pass: less memory, more compute."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, place.blocks))
    return Adapted({"checkpointed_blocks": sum(isinstance(module, place.blocks) for module in model.modules())})
