"""What experiment trackers take of a trial: its name, what was asked, values by step, and its figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from harness.run.store import file_name
from harness.run.stored import StoredRun
from harness.schema.record import Record, Status, StepSeries

BY_STEP = ("loss", "penalty", "lr", "grad_norm", "loss_scale", "step_s")
"""Columns of the series that are told."""
SPEEDS = ("step_s",)
SILENT = (Status.PARITY_FAILED, Status.NOT_APPLIED)
"""Endings whose figures are of something else than was asked: of these only what was learned is told."""


@dataclass(frozen=True)
class Scalar:
    """One value. at: seconds since the epoch, by the training clock: evaluations take no time on it."""

    tag: str
    step: int
    at: float
    value: float


@dataclass(frozen=True)
class Told:
    """A trial as trackers take it. name: unique in the run, `gpt-nano_ddp_bf16/round1-seed0`; started, ended: seconds
    since the epoch; asked: settings by name; scalars: by step; figures: metrics of the trial.
    """

    name: str
    record: Record
    started: float
    ended: float
    asked: dict[str, str | float]
    scalars: list[Scalar]
    figures: dict[str, float]


def told(run: StoredRun) -> list[Told]:
    """Every measured trial that was started, in stored order."""
    records = [each for each in run.records if each.trial.kind == "measure" and each.status is not Status.UNSUPPORTED]
    names = _names(records)
    return [_told(name, record, run.series.get(record.trial.id)) for name, record in zip(names, records, strict=True)]


def _told(name: str, record: Record, series: StepSeries | None) -> Told:
    started, silent = _seconds(record.started_at), record.status in SILENT
    scalars = [*_steps(series, started), *_evaluations(record, started)]
    kept = [each for each in scalars if not (silent and each.tag in SPEEDS)]
    figures = {} if silent else record.metrics
    return Told(name, record, started, _seconds(record.ended_at), asked(record), kept, figures)


def asked(record: Record) -> dict[str, str | float]:
    """Settings that tell trials apart, as text or numbers; what is not set is left out."""
    trial, recipe = record.trial, record.trial.recipe
    known: dict[str, str | float | None] = {
        "workload": trial.workload.label,
        "size": trial.size,
        "strategy": trial.strategy.label,
        "precision": trial.precision.label,
        "techniques": " + ".join(each.label for each in trial.techniques) or None,
        "optimizer": recipe.optimizer.label if recipe.optimizer else None,
        "lr": recipe.lr,
        "schedule": recipe.schedule.label if recipe.schedule else None,
        "weight_decay": recipe.weight_decay,
        "clip": recipe.clip if recipe.clips else "off",
        "regularizers": " + ".join(each.label for each in recipe.regularizers or ()) or None,
        "global_batch": trial.global_batch,
        "micro_batch": trial.micro_batch,
        "device": trial.device,
        "devices": trial.cell_devices,
        "seed": trial.seed,
        "repeat": trial.repeat,
        "status": record.status.value,
    }
    return {name: value for name, value in known.items() if value is not None}


def _names(records: Iterable[Record]) -> list[str]:
    """A path per trial: its cell, then its round and seed; with its id where that is not enough."""
    records = list(records)
    plain = [f"{file_name(each.trial.label)}/round{each.trial.repeat + 1}-seed{each.trial.seed}" for each in records]
    times = Counter(plain)
    return [
        name if times[name] == 1 else f"{name}-{record.trial.id}" for name, record in zip(plain, records, strict=True)
    ]


def _steps(series: StepSeries | None, started: float) -> list[Scalar]:
    if series is None:
        return []
    columns, found = series.columns, []
    length = max((len(values) for values in columns.values()), default=0)
    seconds = 0.0
    for row in range(length):
        at = {name: values[row] for name, values in columns.items() if row < len(values)}
        seconds += at.get("step_s") or 0.0
        step = int(at.get("step") or row + 1)
        for name in BY_STEP:
            value = at.get(name)
            if value is not None and math.isfinite(value):
                found.append(Scalar(name, step, started + seconds, value))
    return found


def _evaluations(record: Record, started: float) -> list[Scalar]:
    return [
        Scalar(name if name.startswith("eval_") else f"eval_{name}", each.step, started + each.train_s, value)
        for each in record.evaluations
        for name, value in each.metrics.items()
        if math.isfinite(value)
    ]


def _seconds(iso: str) -> float:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return 0.0
