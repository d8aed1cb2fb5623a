"""What records say of held-out evaluations: values by step, the last step common to all, and trials that stopped early.

A trial that stopped early keeps its best weights: from the step at which it stopped on, its value is its best one, so
that it does not shorten the comparison for the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.schema.record import Record, StepSeries

TOLD = re.compile(r"step (\d+)(?:; last finite loss (\S+))?")
"""What a record's reason says of a divergence; for runs whose series were not kept."""


@dataclass(frozen=True)
class Stopped:
    """Early stopping: the step after which nothing was trained, and where the best evaluation was."""

    step: int
    best_step: int
    best: float


@dataclass(frozen=True)
class Divergence:
    """A loss that was not finite. step: the first such one; last_loss: the last finite loss; None where not known."""

    seed: int
    step: int | None
    last_loss: float | None

    @property
    def in_words(self) -> str:
        """`step 17, last finite loss 8.31`."""
        last = "" if self.last_loss is None else f", last finite loss {self.last_loss:.4g}"
        return f"step {self.step}{last}" if self.step is not None else "a step that is not known"


def evaluated(record: Record, metric: str) -> dict[int, float]:
    """By step: the record's held-out metric, where it was evaluated."""
    name = f"eval_{metric}"
    return {found.step: found.metrics[name] for found in record.evaluations if name in found.metrics}


def stopped(record: Record) -> Stopped | None:
    """Where the trial stopped early; None where it trained to the end."""
    said = record.per_rank[0].facts.get("early_stopping") if record.per_rank else None
    if not isinstance(said, dict):
        return None
    step, best_step, best = (said.get(key) for key in ("stopped_step", "best_step", "best_value"))
    if not isinstance(step, int) or not isinstance(best_step, int) or not isinstance(best, (int, float)):
        return None
    return Stopped(step, best_step, float(best)) if math.isfinite(best) else None


def at_step(record: Record, metric: str, step: int) -> float | None:
    """The held-out metric after a step; the best one where the trial had stopped by then; None where not evaluated."""
    early = stopped(record)
    return early.best if early is not None and step >= early.step else evaluated(record, metric).get(step)


def common_step(records: Sequence[Record], metric: str) -> int | None:
    """The last step after which all records have a value; those without any evaluation are left aside."""
    known = [record for record in records if evaluated(record, metric)]
    steps = sorted({step for record in known for step in evaluated(record, metric)}, reverse=True)
    return next((step for step in steps if all(at_step(each, metric, step) is not None for each in known)), None)


def divergence(record: Record, series: StepSeries | None) -> Divergence:
    """Where the loss of a trial was not finite any more, from its series, else from what its reason says."""
    losses = series.columns.get("loss", []) if series is not None else []
    for number, loss in enumerate(losses):
        if loss is None or not math.isfinite(loss):
            return Divergence(record.trial.seed, number + 1, losses[number - 1] if number else None)
    found = TOLD.search(record.reason or "")
    if found is None:
        return Divergence(record.trial.seed, None, None)
    return Divergence(record.trial.seed, int(found[1]), float(found[2]) if found[2] else None)
