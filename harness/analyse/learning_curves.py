"""Held-out curves of a recipe over its seeds, by step and by training seconds; and its learning rate by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analyse.evaluations import at_step, evaluated
from harness.analyse.families import Family, Rung
from harness.run.stored import StoredRun

SMOOTH_FROM = 38
"""Points from which a curve is smoothed: by a centred running mean over a 25th of them."""
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class LearningCurve:
    """A recipe over its seeds. steps: at which all were evaluated; seconds: training until then, mean over seeds; mean,
    low, high: of the held-out metric over seeds.
    """

    family: Family
    steps: Floats
    seconds: Floats
    mean: Floats
    low: Floats
    high: Floats

    def along(self, by_time: bool) -> Floats:
        """Seconds or steps."""
        return self.seconds if by_time else self.steps


def learning_curve(family: Family, metric: str) -> LearningCurve | None:
    """The curve of a family's best rung; None with fewer than two points.

    A seed that stopped early keeps its best value from there on; the curve goes on as long as any seed trained.
    """
    rung = family.best
    if rung is None:
        return None
    points = [point for step in _steps(rung, metric) if (point := _point(rung, metric, step)) is not None]
    if len(points) < 2:
        return None
    table = np.array(points, float)
    window = max(1, round(len(table) / 25)) if len(table) >= SMOOTH_FROM else 1
    return LearningCurve(family, table[:, 0], table[:, 1], *(_smooth(table[:, at], window) for at in (2, 3, 4)))


def _steps(rung: Rung, metric: str) -> list[int]:
    return sorted({step for record in rung.records for step in evaluated(record, metric)})


def _point(rung: Rung, metric: str, step: int) -> tuple[float, ...] | None:
    values = [at_step(record, metric, step) for record in rung.records if evaluated(record, metric)]
    known = [value for value in values if value is not None]
    seconds = [found.train_s for record in rung.records for found in record.evaluations if found.step == step]
    if not known or len(known) < len(values):
        return None
    return float(step), float(np.mean(seconds)), float(np.mean(known)), min(known), max(known)


def _smooth(values: Floats, window: int) -> Floats:
    """Running mean over `window` values, fewer at the ends."""
    if window == 1:
        return values
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def rates(run: StoredRun, family: Family) -> tuple[Floats, Floats] | None:
    """Step and learning rate as a share of its peak, of the best rung's first seed; None where no series was kept."""
    rung = family.best
    for record in rung.records if rung else ():
        series = run.series.get(record.trial.id)
        found = series.columns.get("lr", []) if series else []
        if len(found) > 1 and rung is not None and all(rate is not None for rate in found):
            lr = np.array(found, float)
            return np.arange(1, len(lr) + 1, dtype=float), lr / rung.lr
    return None
