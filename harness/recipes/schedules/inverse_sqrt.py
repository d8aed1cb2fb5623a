"""The inverse square root of the step."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Multiplier, Steps, register, warmed_up


@register("inverse_sqrt", source="https://arxiv.org/abs/1706.03762")
def inverse_sqrt(
    total_steps: int, *, warmup_steps: Steps = 0, timescale: Annotated[int, Field(ge=1)] | None = None
) -> Multiplier:
    """The inverse root: √(timescale ÷ (timescale + steps since warm-up)); it knows no end of the run.

    warmup_steps: linear warm-up before; timescale: steps after which half of the square is gone; left out: as many as
    the warm-up has (at least 1), which is the Transformer's own schedule.
    """
    scale = timescale or max(1, warmup_steps)
    return warmed_up(lambda since: math.sqrt(scale / (scale + since)), warmup_steps)
