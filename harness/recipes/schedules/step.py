"""Steps down: every so many optimizer steps, or at named ones."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Fault, Length, Multiplier, Steps, register, warmed_up

Factor = Annotated[float, Field(gt=0, lt=1)]
Milestones = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


def _every_beyond_the_end(length: Length, *, every: int, warmup_steps: int = 0, **_options: object) -> Fault | None:
    if warmup_steps + every < length.steps:
        return None
    return "every", f"fewer steps than the run has after warm-up, which are {length.steps - warmup_steps} at most"


@register(
    "step",
    misfit=_every_beyond_the_end,
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html",
)
def step(
    total_steps: int, *, every: Annotated[int, Field(ge=1)], warmup_steps: Steps = 0, gamma: Factor = 0.1
) -> Multiplier:
    """Down by a factor every so many steps: gamma^⌊steps since warm-up ÷ every⌋.

    every: optimizer steps between falls; warmup_steps: linear warm-up before; gamma: the factor.
    """
    return warmed_up(lambda since: float(gamma ** (since // every)), warmup_steps)


def _milestones_out_of_place(
    length: Length, *, milestones: tuple[int, ...], warmup_steps: int = 0, **_options: object
) -> Fault | None:
    if any(later <= earlier for earlier, later in itertools.pairwise(milestones)):
        return "milestones", "steps in rising order"
    if milestones[0] < warmup_steps:
        return "milestones", f"steps after the warm-up, which takes {warmup_steps}"
    if milestones[-1] >= length.steps:
        return "milestones", f"steps of the run, which has {length.steps} at most"
    return None


@register(
    "multistep",
    misfit=_milestones_out_of_place,
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html",
)
def multistep(total_steps: int, *, milestones: Milestones, warmup_steps: Steps = 0, gamma: Factor = 0.1) -> Multiplier:
    """Down by a factor at named steps: gamma^(number of milestones that the step has reached).

    milestones: 0-based optimizer steps of the whole run, warm-up included; warmup_steps: linear warm-up before; gamma:
    the factor.
    """
    return warmed_up(lambda since: float(gamma ** bisect_right(milestones, since + warmup_steps)), warmup_steps)
