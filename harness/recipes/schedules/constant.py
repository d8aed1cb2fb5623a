"""The same learning rate throughout, after an optional warm-up."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Multiplier, register, warmed_up


@register("constant")
def constant(total_steps: int, *, warmup_steps: Annotated[int, Field(ge=0)] = 0) -> Multiplier:
    """1 throughout; linear warm-up over the first `warmup_steps` steps."""
    return warmed_up(lambda _step: 1.0, warmup_steps)
