"""Half a cosine from the peak down to a floor."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Multiplier, register, warmed_up


@register("cosine", source="https://arxiv.org/abs/1608.03983")
def cosine(
    total_steps: int,
    *,
    warmup_steps: Annotated[int, Field(ge=0)] = 0,
    floor: Annotated[float, Field(ge=0, le=1)] = 0.05,
) -> Multiplier:
    """Half a cosine: floor + (1 − floor) × (1 + cos(π·t)) ÷ 2, t from 0 after warm-up to 1 at the last step.

    warmup_steps: linear warm-up before; floor: share of the peak that is left at the last step and beyond it. Where
    the warm-up takes all steps, nothing of the cosine is seen.
    """
    last = max(1, total_steps - warmup_steps - 1)

    def falling(step: int) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, step / last))) / 2

    return warmed_up(falling, warmup_steps)
