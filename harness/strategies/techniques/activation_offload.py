"""Activation offload: what a block keeps for its backward pass waits in host memory instead of on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.strategies import Place
from harness.strategies.techniques import Adapted, techniques

if TYPE_CHECKING:
    from torch import nn


@techniques.register(
    "activation_offload",
    equivalence="exact",
    unpredicted="activations wait in host memory, and how many are on the device at a time is a matter of its stream",
    accelerator_only="activation_offload moves activations to host memory; on CPU they are in host memory already",
    source="https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.save_on_cpu",
)
def activation_offload(model: nn.Module, place: Place) -> Adapted:
    """What blocks keep for the backward pass is copied to pinned host memory and back: less device memory, more copies.

    PyTorch's `save_on_cpu` around each block; the copies are made on the stream that computes.
    """
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        OffloadWrapper,
        apply_activation_checkpointing,
        offload_wrapper,
    )

    blocks = [module for module in model.modules() if isinstance(module, place.blocks)]
    apply_activation_checkpointing(
        model, checkpoint_wrapper_fn=offload_wrapper, check_fn=lambda module: isinstance(module, place.blocks)
    )

    def observed() -> dict[str, Any]:
        return {"offloaded_blocks": sum(isinstance(module, OffloadWrapper) for module in model.modules())}

    return Adapted({"offloaded_blocks": len(blocks)}, observed=observed)
