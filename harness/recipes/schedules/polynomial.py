"""A power of what is left of the run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Multiplier, Share, Steps, progress, register, warmed_up


@register("polynomial", source="https://arxiv.org/abs/1606.00915")
def polynomial(
    total_steps: int,
    *,
    warmup_steps: Steps = 0,
    power: Annotated[float, Field(gt=0)] = 2.0,
    floor: Share = 0.0,
) -> Multiplier:
    """A power: floor + (1 − floor)·(1 − t)^power, t from 0 after warm-up to 1 at the last step.

    warmup_steps: linear warm-up before; power: 1 is a straight line; floor: share of the peak that is left at the last
    step and beyond it.
    """
    t = progress(total_steps, warmup_steps)
    return warmed_up(lambda step: floor + (1 - floor) * (1 - t(step)) ** power, warmup_steps)
