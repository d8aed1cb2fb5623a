"""The same factor at every step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Multiplier, Steps, progress, register, warmed_up


@register(
    "exponential",
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html",
)
def exponential(
    total_steps: int, *, warmup_steps: Steps = 0, floor: Annotated[float, Field(gt=0, le=1)] = 0.01
) -> Multiplier:
    """The same factor at every step: floor^t, t from 0 after warm-up to 1 at the last step.

    warmup_steps: linear warm-up before; floor: share of the peak that is left at the last step and beyond it. The
    factor of a step follows from it (torch's gamma): floor^(1 ÷ steps), so that a longer run falls more slowly.
    """
    t = progress(total_steps, warmup_steps)
    return warmed_up(lambda step: float(floor ** t(step)), warmup_steps)
