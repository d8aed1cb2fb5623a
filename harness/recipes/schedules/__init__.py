"""Learning-rate schedules: number of steps in, a function step → share of the peak learning rate out. One file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from harness.schema.registry import Registry

Multiplier: TypeAlias = Callable[[int], float]
"""0-based optimizer step → factor of the peak learning rate, in [0, 1]."""


@dataclass(frozen=True)
class ScheduleFacts:
    """What the page must know of a schedule."""

    source: str = ""


registry: Registry[ScheduleFacts] = Registry(
    "schedule", "harness.recipes.schedules", ScheduleFacts, "harness.schedules"
)
register = registry.register


def warmed_up(rest: Multiplier, warmup_steps: int) -> Multiplier:
    """Linear warm-up before `rest`: (step + 1) ÷ warmup_steps while step < warmup_steps; `rest` counts from its end."""
    return lambda step: (step + 1) / warmup_steps if step < warmup_steps else rest(step - warmup_steps)
