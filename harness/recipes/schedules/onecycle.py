"""One cycle: up to the peak, then down to almost nothing."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from harness.recipes.schedules import Fault, Length, Multiplier, register


def _no_step_to_rise_in(length: Length, *, rise: float = 0.3, **_options: object) -> Fault | None:
    if rise * length.steps > 1:
        return None
    return "rise", f"a share of the run's {length.steps} steps that is more than one step"


@register("onecycle", misfit=_no_step_to_rise_in, source="https://arxiv.org/abs/1708.07120")
def onecycle(
    total_steps: int,
    *,
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    start: Annotated[float, Field(gt=0, le=1)] = 0.04,
    end: Annotated[float, Field(gt=0, le=1)] = 4e-6,
    anneal: Literal["cos", "linear"] = "cos",
) -> Multiplier:
    """Up from `start` to the peak in the first part of the run, then down to `end` at the last step.

    The rise is its warm-up. rise: share of the run it takes; start, end: shares of the peak (torch's are 1 ÷ 25 and
    1 ÷ 250000); anneal: half a cosine or a straight line, both ways. Left out: the momentum, which torch's class moves
    against the rate, and the third phase of the paper.
    """
    top, last = rise * total_steps - 1, max(1, total_steps - 1)

    def between(one: float, other: float, t: float) -> float:
        return one + (other - one) * (t if anneal == "linear" else (1 - math.cos(math.pi * t)) / 2)

    def cycle(step: int) -> float:
        if step < top:
            return between(start, 1.0, step / top)
        return between(1.0, end, min(1.0, (step - max(0.0, top)) / (last - max(0.0, top))))

    return cycle
