"""The same learning rate throughout, after an optional warm-up."""

from __future__ import annotations

from harness.recipes.schedules import Multiplier, Steps, register, warmed_up


@register("constant")
def constant(total_steps: int, *, warmup_steps: Steps = 0) -> Multiplier:
    """1 throughout; linear warm-up over the first `warmup_steps` steps."""
    return warmed_up(lambda _step: 1.0, warmup_steps)
