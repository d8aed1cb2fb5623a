"""Half cosines one after another, each from the peak (SGDR)."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Fault, Length, Multiplier, Share, Steps, register, warmed_up

SHORTEST = 2
"""Steps of a cycle below which nothing of its cosine is seen."""


def _first_cycle(total_steps: int, warmup_steps: int, cycles: int, growth: float) -> float:
    """Steps of the first cycle: all cycles together take what is left after warm-up."""
    return (total_steps - warmup_steps) / math.fsum(growth**number for number in range(cycles))


def _cycles_too_short(
    length: Length, *, warmup_steps: int = 0, cycles: int = 3, growth: float = 1.0, **_options: object
) -> Fault | None:
    first = _first_cycle(length.steps, warmup_steps, cycles, growth)
    if first >= SHORTEST:
        return None
    return "cycles", f"fewer: the first cycle would have {first:.3g} of the run's {length.steps} steps"


@register("cosine_restarts", misfit=_cycles_too_short, source="https://arxiv.org/abs/1608.03983")
def cosine_restarts(
    total_steps: int,
    *,
    warmup_steps: Steps = 0,
    cycles: Annotated[int, Field(ge=1, le=1000)] = 3,
    growth: Annotated[float, Field(ge=1, le=10)] = 1.0,
    floor: Share = 0.0,
) -> Multiplier:
    """Half cosines in a row: floor + (1 − floor) × (1 + cos(π·t ÷ T)) ÷ 2, t from 0 to T in each cycle of T steps.

    warmup_steps: linear warm-up before; cycles: how many share the run; growth: how much longer each is than the one
    before; floor: share of the peak that a cycle falls to. A cycle's first step is at the peak; the floor itself would
    be reached by the step that the next one starts with, and is what remains after the run.
    """
    first = _first_cycle(total_steps, min(warmup_steps, total_steps - 1), cycles, growth)

    def falling(step: int) -> float:
        began, steps = 0.0, first
        for _ in range(cycles):
            if step < began + steps:
                return floor + (1 - floor) * (1 + math.cos(math.pi * (step - began) / steps)) / 2
            began, steps = began + steps, steps * growth
        return floor

    return warmed_up(falling, warmup_steps)
