"""A straight line from the peak down to a floor."""

from __future__ import annotations

from harness.recipes.schedules import Multiplier, Share, Steps, progress, register, warmed_up


@register("linear", source="https://arxiv.org/abs/1810.04805")
def linear(total_steps: int, *, warmup_steps: Steps = 0, floor: Share = 0.0) -> Multiplier:
    """A straight line: 1 − (1 − floor)·t, t from 0 after warm-up to 1 at the last step.

    warmup_steps: linear warm-up before; floor: share of the peak that is left at the last step and beyond it.
    """
    t = progress(total_steps, warmup_steps)
    return warmed_up(lambda step: 1 - (1 - floor) * t(step), warmup_steps)
