"""32-bit floats: whole, or with products of NVIDIA's shorter TF32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Place, Setting
from harness.strategies.precision import Precision, expected_facts, precisions

if TYPE_CHECKING:
    from torch import nn

AMPERE = (8, 0)
"""compute capability from which tensor cores know TF32"""


@precisions.register("fp32", equivalence="exact")
def fp32() -> Precision:
    """32-bit floats everywhere; TF32 stays off."""
    return Precision(expected=expected_facts("float32"))


def _impossible(setting: Setting) -> str | None:
    return setting.below_capability(AMPERE, "TF32 is a format of the tensor cores of NVIDIA devices")


@precisions.register(
    "tf32",
    equivalence="approximate",
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices",
)
def tf32() -> Precision:
    """32-bit floats whose matrix products and convolutions round their inputs to 10 bits of mantissa (NVIDIA TF32)."""

    def allow(model: nn.Module, _place: Place) -> nn.Module:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        return model

    return Precision(expected=expected_facts("float32", tf32=True), convert=allow)
