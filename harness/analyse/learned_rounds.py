"""What a stored trial learned, as a measured round has it: area under its loss, held-out value, steps to the target."""

from __future__ import annotations

import math
from typing import Any

from harness.analyse.cells import workload_facts
from harness.analyse.criteria import LOSS_AREA
from harness.analyse.evaluations import at_step, evaluated, stopped
from harness.run.stored import StoredRun
from harness.schema.measured import Learned
from harness.schema.record import Record, Status


def learned_of(run: StoredRun, record: Record) -> tuple[Learned | None, dict[str, float]]:
    """What the trial is as a round of learning, and its figures; None where it is none: not OK, nothing evaluated.

    Area and evaluations end at the last step that every trial of the cell takes: with a warm-up that is found, trials
    of one cell differ in length.
    """
    facts: dict[str, Any] = workload_facts(run.info, record)
    metric = str(facts.get("metric", "loss"))
    values = evaluated(record, metric)
    if record.status is not Status.OK or not values:
        return None, {}
    steps, target = record.trial.last_evaluation(0), facts.get("target")  # a found warm-up is not in it
    losses = _losses(run, record, steps)
    learned = Learned(
        seed=record.trial.seed,
        steps=steps,
        train_s=max(each.train_s for each in record.evaluations),
        first_loss=losses[0] if losses else None,
        metric=metric,
        better="higher" if facts.get("better") == "higher" else "lower",
        target=target if isinstance(target, int | float) and math.isfinite(target) else None,
    )
    figures = {f"eval_{metric}": at_step(record, metric, steps)}
    if len(losses) == steps and stopped(record) is None:
        figures[LOSS_AREA] = math.fsum(losses) / steps
    return learned, {name: value for name, value in figures.items() if value is not None}


def _losses(run: StoredRun, record: Record, steps: int) -> list[float]:
    """The training losses of the first so many steps, as far as all are known."""
    series = run.series.get(record.trial.id)
    found = []
    for loss in (series.columns.get("loss", []) if series else [])[:steps]:
        if loss is None or not math.isfinite(loss):
            break
        found.append(loss)
    return found
