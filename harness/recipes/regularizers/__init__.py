"""Regularizers: what keeps a training from learning its samples by heart. Options in, parts out. One file each.

A registered function is pure: planning calls it. What it returns says where a step changes; all else stays the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field

from harness.recipes.schedules import Length
from harness.schema.registry import Registry
from harness.strategies import Requirements

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Rate: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
"""A share of what is dropped, smoothed or kept; at 0 nothing would be done."""
Weight: TypeAlias = Annotated[float, Field(gt=0)]
"""A factor; at 0 nothing would be done."""
Fault: TypeAlias = tuple[str, str]
"""An option and what is expected of it."""


@dataclass(frozen=True)
class Penalty:
    """A term of the loss over the weights that weight decay applies to: a sum over single numbers, so that it can be
    computed of parts of them.

    value: weights → the sum, differentiable; add_gradient: (gradients, weights) → adds the sum's gradient in place.
    That the two fit together is seen in each trial.
    """

    value: Callable[[list[Tensor]], Tensor]
    add_gradient: Callable[[list[Tensor], list[Tensor]], None]


@dataclass(frozen=True)
class Mixture:
    """Which sample of a step is mixed with which, by position in the global batch.

    partner: positions, none its own; share: of the sample itself in what the model is given, from 0 to 1.
    """

    partner: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class EarlyStop:
    """An end before the last step. patience: evaluations without improvement; min_delta: smallest one that counts."""

    patience: int
    min_delta: float = 0.0

    def due(self, values: Sequence[float], better: str) -> bool:
        """Whether training ends after these values of the metric, in order; better: lower or higher."""
        return bool(values) and len(values) - 1 - self.best(values, better) >= self.patience

    def best(self, values: Sequence[float], better: str) -> int:
        """Number (0-based) of the value that all later ones do not improve on by more than `min_delta`."""
        sign, best = (1 if better == "higher" else -1), 0
        for number, value in enumerate(values):
            if math.isnan(values[best]) or sign * (value - values[best]) > self.min_delta:
                best = number
        return best


@dataclass(frozen=True)
class Regularizer:
    """What a regularizer does: usually one of these."""

    workload: Mapping[str, Any] = field(default_factory=dict)
    """options of the workload that it sets"""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """keys of the recipe that it sets"""
    penalty: Penalty | None = None
    mix: Callable[[int, int, int], Mixture] | None = None
    """(seed, 0-based step, samples of the global batch) → how they are mixed before the model sees them"""
    average: float | None = None
    """share of the average of the weights that is kept at each step; it is evaluated in their place"""
    stop: EarlyStop | None = None


@dataclass(frozen=True)
class RegularizerFacts(Requirements):
    """What planning and the page must know of a regularizer.

    trait: of the model (see `ModelFacts.traits`) without which it means nothing; misfit: (length of the run, **options)
    → an option that does not fit into it and what is expected, or None.
    """

    trait: str = ""
    misfit: Callable[..., Fault | None] | None = None
    source: str = ""

    def too_long(self, length: Length, options: Mapping[str, object]) -> Fault | None:
        """The first option that needs a longer run, or None."""
        return self.misfit(length, **options) if self.misfit is not None else None


registry: Registry[RegularizerFacts] = Registry(
    "regularizer", "harness.recipes.regularizers", RegularizerFacts, "harness.regularizers"
)
register = registry.register
