"""Down by a factor when held-out evaluation no longer gets better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from harness.recipes.schedules import Fault, Length, Share, Steps, register


def _too_few_evaluations(length: Length, *, patience: int = 2, **_options: object) -> Fault | None:
    least = patience + 2
    if length.evaluations >= least:
        return None
    return "patience", (
        f"a number of evaluations that the run has: with {patience} the rate can fall after {least} at the earliest, "
        f"and it has {length.evaluations} (see eval_every)"
    )


@dataclass
class Plateau:
    """The schedule and what it has seen. best: of the metric; bad: evaluations in a row that were no better."""

    warmup_steps: int
    patience: int
    factor: float
    threshold: float
    cooldown: int
    floor: float
    share: float = 1.0
    best: float | None = None
    bad: int = 0
    resting: int = 0

    def __call__(self, step: int) -> float:
        """Share of the peak at a step, as things stand."""
        rising = (step + 1) / self.warmup_steps if step < self.warmup_steps else 1.0
        return rising * self.share

    def observe(self, value: float, better: str) -> bool:
        """Take a held-out metric; whether the rate should fall: more than `patience` in a row were no better."""
        if self.best is None or self._is_better(value, better):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting, self.bad = self.resting - 1, 0
        return self.bad > self.patience

    def reduce(self) -> None:
        """Let the rate fall by the factor, to the floor at most, and rest."""
        self.share = max(self.share * self.factor, self.floor)
        self.resting, self.bad = self.cooldown, 0

    def _is_better(self, value: float, better: str) -> bool:
        assert self.best is not None
        if better == "lower":
            return value < self.best * (1 - self.threshold)
        return value > self.best * (1 + self.threshold)


@register(
    "plateau",
    misfit=_too_few_evaluations,
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html",
)
def plateau(
    total_steps: int,
    *,
    warmup_steps: Steps = 0,
    patience: Annotated[int, Field(ge=0)] = 2,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    threshold: Annotated[float, Field(ge=0, lt=1)] = 1e-4,
    cooldown: Annotated[int, Field(ge=0)] = 0,
    floor: Share = 0.0,
) -> Plateau:
    """Down by a factor when more than `patience` held-out evaluations in a row were no better than the best.

    It goes by the workload's metric, at the evaluations of `eval_every`, those of the parity steps left out; the fall
    takes effect at the second step after the evaluation, since the rate of the next is set by then. warmup_steps:
    linear warm-up before; factor: of a fall; threshold: relative difference that counts as better; cooldown:
    evaluations after a fall that do not count; floor: least share of the peak. Evaluations are off the clock.
    """
    return Plateau(warmup_steps, patience, factor, threshold, cooldown, floor)
