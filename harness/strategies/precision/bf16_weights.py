"""Pure bfloat16: weights, gradients and optimizer state are kept in it, not only products computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Place
from harness.strategies.precision import Precision, expected_facts, precisions

if TYPE_CHECKING:
    from torch import Tensor, nn

STATE = ["bfloat16", "none"]
"""type of what the optimizer keeps: SGD without momentum keeps nothing"""


@precisions.register("bf16_weights", equivalence="approximate", source="https://arxiv.org/abs/2010.06192")
def bf16_weights() -> Precision:
    """Weights, gradients, optimizer state and inputs in bfloat16: half the memory of fp32, small updates are lost.

    A weight has 8 significant bits: an update below 1/512 of it is rounded away, which autocast with weights in fp32
    does not suffer from.
    """
    import torch

    def convert(model: nn.Module, _place: Place) -> nn.Module:
        return model.to(torch.bfloat16)

    def inputs(tensor: Tensor) -> Tensor:
        return tensor.to(torch.bfloat16)

    expected = expected_facts("bfloat16", parameters="bfloat16") | {"optimizer_state_dtype": STATE}
    return Precision(expected=expected, convert=convert, inputs=inputs)
