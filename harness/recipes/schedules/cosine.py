"""Half a cosine from the peak down to a floor."""

from __future__ import annotations

import math

from harness.recipes.schedules import Multiplier, Share, Steps, progress, register, warmed_up


@register("cosine", source="https://arxiv.org/abs/1608.03983")
def cosine(total_steps: int, *, warmup_steps: Steps = 0, floor: Share = 0.05) -> Multiplier:
    """Half a cosine: floor + (1 − floor) × (1 + cos(π·t)) ÷ 2, t from 0 after warm-up to 1 at the last step.

    warmup_steps: linear warm-up before; floor: share of the peak that is left at the last step and beyond it. Where
    the warm-up takes all steps, nothing of the cosine is seen.
    """
    t = progress(total_steps, warmup_steps)
    return warmed_up(lambda step: floor + (1 - floor) * (1 + math.cos(math.pi * t(step))) / 2, warmup_steps)
