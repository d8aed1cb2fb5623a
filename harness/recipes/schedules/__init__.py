"""Learning-rate schedules: number of steps in, a function step → share of the peak learning rate out. One file each.

Steps are 0-based optimizer steps. After the linear warm-up that most of them take, a schedule counts from its end, so
that its first value there is the peak; what is left at the last step of the run stays beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

from pydantic import Field

from harness.schema.registry import Registry

Multiplier: TypeAlias = Callable[[int], float]
"""0-based optimizer step → factor of the peak learning rate, in [0, 1]."""
Steps: TypeAlias = Annotated[int, Field(ge=0)]
"""A number of optimizer steps."""
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A share of the peak learning rate, or of the run."""
Fault: TypeAlias = tuple[str, str]
"""An option and what is expected of it."""


@runtime_checkable
class Adaptive(Protocol):
    """A multiplier that goes by held-out evaluation: `observe` judges a metric, `reduce` is called where rank 0 did."""

    def __call__(self, step: int) -> float:
        """Share of the peak at a step, as things stand."""

    def observe(self, value: float, better: str) -> bool:
        """Take a held-out metric (better: lower or higher); whether the rate should fall."""

    def reduce(self) -> None:
        """Let the rate fall."""


@dataclass(frozen=True)
class Length:
    """How long the run that a schedule is laid over can be: optimizer steps, and held-out evaluations during them."""

    steps: int
    evaluations: int = 1


@dataclass(frozen=True)
class ScheduleFacts:
    """What planning and the page must know of a schedule.

    misfit: (length of the run, **options) → an option that does not fit into it and what is expected, or None.
    """

    misfit: Callable[..., Fault | None] | None = None
    source: str = ""

    def against(self, length: Length, options: Mapping[str, object]) -> Fault | None:
        """The first option that is longer than the run, or None: the schedule fits into it."""
        warmup = options.get("warmup_steps", 0)
        if isinstance(warmup, int) and warmup >= length.steps:
            return "warmup_steps", f"fewer steps than the run has, which are {length.steps} at most"
        return self.misfit(length, **options) if self.misfit is not None else None


registry: Registry[ScheduleFacts] = Registry(
    "schedule", "harness.recipes.schedules", ScheduleFacts, "harness.schedules"
)
register = registry.register


def warmed_up(rest: Multiplier, warmup_steps: int) -> Multiplier:
    """Linear warm-up before `rest`: (step + 1) ÷ warmup_steps while step < warmup_steps; `rest` counts from its end."""
    return lambda step: (step + 1) / warmup_steps if step < warmup_steps else rest(step - warmup_steps)


def progress(total_steps: int, warmup_steps: int) -> Multiplier:
    """(steps since warm-up) → how far the run is after it: 0 at the first of them, 1 at the last step and beyond."""
    last = max(1, total_steps - warmup_steps - 1)
    return lambda step: min(1.0, step / last)
