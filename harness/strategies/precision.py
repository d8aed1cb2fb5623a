"""Precisions: in what number format the forward and backward passes compute; weights stay in fp32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.schema.registry import Registry
from harness.strategies import Equivalence, Place, Requirements

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class PrecisionFacts(Requirements):
    """What planning must know of a precision."""

    equivalence: Equivalence = "exact"
    source: str = ""


@dataclass(frozen=True)
class Precision:
    """What a precision does to a training.

    autocast: name of torch's dtype or None; scaling: options of the gradient scaler or None; expected: facts;
    convert: (model, place) → the model in this format, before techniques and strategy; inputs: what is done to each
    floating-point tensor of a batch on the device.
    """

    autocast: str | None = None
    scaling: dict[str, Any] | None = None
    expected: dict[str, Any] = field(default_factory=dict)
    convert: Callable[[nn.Module, Place], nn.Module] | None = None
    inputs: Callable[[Tensor], Tensor] | None = None


AUTOCAST = "https://docs.pytorch.org/docs/stable/amp.html"
precisions: Registry[PrecisionFacts] = Registry(
    "precision", "harness.strategies.precision", PrecisionFacts, "harness.precisions"
)


def _expected(dtype: str, scaling: bool = False) -> dict[str, Any]:
    return {"parameter_dtype": "float32", "compute_dtype": dtype, "loss_scaling": scaling}


@precisions.register("fp32", equivalence="exact")
def fp32() -> Precision:
    """32-bit floats everywhere; TF32 stays off."""
    return Precision(expected=_expected("float32"))


@precisions.register("bf16", equivalence="approximate", source=AUTOCAST)
def bf16() -> Precision:
    """Autocast to bfloat16; it has the range of fp32, so gradients need no scaling."""
    return Precision("bfloat16", expected=_expected("bfloat16"))


@precisions.register("fp16", equivalence="approximate", source=AUTOCAST)
def fp16(*, init_scale: float = 2.0**16, growth_interval: int = 2000) -> Precision:
    """Autocast to float16 with gradient scaling: a step whose gradients overflow is skipped and the scale halved.

    init_scale: first factor of the loss; growth_interval: steps without overflow after which the scale is doubled.
    """
    scaling = {"init_scale": init_scale, "growth_interval": growth_interval}
    return Precision("float16", scaling, _expected("float16", scaling=True))
