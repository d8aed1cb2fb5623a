"""Precisions: in what number format a training computes, and in what format it keeps what it computes with."""

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
    floating-point tensor of a batch on the device; observed: facts that only the precision can read from the model.
    """

    autocast: str | None = None
    scaling: dict[str, Any] | None = None
    expected: dict[str, Any] = field(default_factory=dict)
    convert: Callable[[nn.Module, Place], nn.Module] | None = None
    inputs: Callable[[Tensor], Tensor] | None = None
    observed: Callable[[nn.Module], dict[str, Any]] | None = None


def expected_facts(compute: str, *, parameters: str = "float32", scaling: bool = False, tf32: bool = False) -> Any:
    """Facts that must be seen: types of parameters and of the first product's result, scaling, TF32 on or off."""
    return {
        "parameter_dtype": parameters,
        "compute_dtype": compute,
        "loss_scaling": scaling,
        "tf32_products": tf32,
        "tf32_convolutions": tf32,
    }


precisions: Registry[PrecisionFacts] = Registry(
    "precision", "harness.strategies.precision", PrecisionFacts, "harness.precisions"
)
