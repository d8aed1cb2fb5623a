"""Warm-up, stable, decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from harness.recipes.schedules import Fault, Length, Multiplier, Share, Steps, register, warmed_up


def _decay_steps(total_steps: int, decay: float) -> int:
    return max(1, round(decay * total_steps))


def _longer_than_the_run(
    length: Length, *, warmup_steps: int = 0, decay: float = 0.2, **_options: object
) -> Fault | None:
    steps = _decay_steps(length.steps, decay)
    if warmup_steps + steps <= length.steps:
        return None
    return "decay", f"a share of the run that leaves room for warm-up: {warmup_steps} + {steps} of {length.steps} steps"


@register("wsd", misfit=_longer_than_the_run, source="https://arxiv.org/abs/2404.06395")
def wsd(
    total_steps: int,
    *,
    warmup_steps: Steps = 0,
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2,
    shape: Literal["linear", "sqrt", "cosine"] = "linear",
    floor: Share = 0.0,
) -> Multiplier:
    """Warm-up, then the peak, then down to `floor` in the last part of the run.

    warmup_steps: linear warm-up; decay: share of all steps in which the rate falls; shape: with t from 0 before the
    first of them to 1 at the last step, the fall is t, √t (https://arxiv.org/abs/2405.18392) or (1 − cos(π·t)) ÷ 2.
    """
    steps = _decay_steps(total_steps, decay)
    shapes: dict[str, Callable[[float], float]] = {
        "linear": lambda t: t,
        "sqrt": math.sqrt,
        "cosine": lambda t: (1 - math.cos(math.pi * t)) / 2,
    }

    def stable_then_down(since: int) -> float:
        t = (since + warmup_steps - (total_steps - steps) + 1) / steps
        return 1 - (1 - floor) * shapes[shape](min(1.0, max(0.0, t)))

    return warmed_up(stable_then_down, warmup_steps)
