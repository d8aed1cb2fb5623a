"""Families of recipes: the cells of a group that differ in the learning rate only, each rate being a rung of a ladder.

A family is judged by its best rung, so that every recipe is compared at the rate that suits it, on the same ladder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from harness.analyse.cells import Cell, HeldOut
from harness.analyse.evaluations import Divergence, at_step, divergence, evaluated, stopped
from harness.analyse.paired import Interval, mean_interval
from harness.analyse.quantity import count, digits
from harness.analyse.recipe_names import recipe_labels, short_labels
from harness.analyse.target import Reach, reach
from harness.run.stored import StoredRun
from harness.schema.recipe_text import telling
from harness.schema.record import Record, Status
from harness.schema.suite import Recipe

NEAR = 0.05
"""A rate is near the best where its held-out value is within this share of the best one's."""


@dataclass(frozen=True)
class Rung:
    """A cell as a rung of its family's ladder, seeds put together; several rounds of a seed are one value, their mean.

    finals: by seed, held-out value after the common step; areas: by seed, mean training loss up to the last common
    step; trained, gaps: the metric on training samples and how far held-out ones fall behind it, of each trial; stops:
    by seed, where it stopped early; diverged: seeds whose loss was not finite; records: those that ended OK.
    """

    cell: Cell
    recipe: Recipe
    finals: Mapping[int, float]
    areas: Mapping[int, float]
    trained: tuple[float, ...]
    gaps: tuple[float, ...]
    stops: Mapping[int, int]
    diverged: tuple[Divergence, ...]
    seeds: int
    reach: Reach | None
    records: tuple[Record, ...] = field(repr=False)

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        return self.recipe.lr or math.nan

    @property
    def known(self) -> bool:
        """Any seed has a held-out value."""
        return bool(self.finals)

    @cached_property
    def mean(self) -> float:
        """Mean over seeds; NaN where none has a value."""
        return float(np.mean(list(self.finals.values()))) if self.finals else math.nan

    @cached_property
    def interval(self) -> Interval | None:
        """Mean with its 95 % interval over seeds."""
        return mean_interval(list(self.finals.values())) if self.finals else None

    @property
    def band(self) -> tuple[float, float]:
        """Least and most over seeds. Raises ValueError where none has a value."""
        return min(self.finals.values()), max(self.finals.values())

    @property
    def gap(self) -> Interval | None:
        """Mean generalisation gap with its interval."""
        return mean_interval(self.gaps) if self.gaps else None


@dataclass(frozen=True)
class Family:
    """A recipe on its ladder. label: what tells it from the others of the group; short: the same for pictures, without
    options where names alone tell the families apart; rungs: ascending rate.
    """

    label: str
    rungs: tuple[Rung, ...]
    higher: bool
    short: str = ""

    @cached_property
    def best(self) -> Rung | None:
        """The rung with the best mean: of those that did not diverge on any seed and have the most seeds, if any."""
        known = [rung for rung in self.rungs if rung.known]
        sign = -1 if self.higher else 1
        return min(known, key=lambda rung: (len(rung.diverged), -len(rung.finals), sign * rung.mean), default=None)

    @property
    def is_baseline(self) -> bool:
        """The baseline is one of its rungs."""
        return any(rung.cell.is_baseline for rung in self.rungs)

    @property
    def tried(self) -> list[Rung]:
        """Rungs that were started, those that diverged among them."""
        return [rung for rung in self.rungs if rung.seeds]

    @property
    def edge(self) -> str:
        """`largest` or `smallest` where the best rate is at that end of those tried; empty where rates on both sides of
        it were tried and no better, and where there is one rate only.
        """
        tried = self.tried
        if self.best is None or len(tried) < 2:
            return ""
        return "largest" if tried[-1] is self.best else "smallest" if tried[0] is self.best else ""

    @property
    def near(self) -> tuple[float, float] | None:
        """Lowest and highest rate of the unbroken run of rungs around the best one that are within 5 % of it."""
        best = self.best
        if best is None or len(self.tried) < 2:
            return None
        at = low = high = self.tried.index(best)
        while low > 0 and self._is_near(self.tried[low - 1], best):
            low -= 1
        while high < len(self.tried) - 1 and self._is_near(self.tried[high + 1], best):
            high += 1
        assert low <= at <= high
        return self.tried[low].lr, self.tried[high].lr

    def _is_near(self, rung: Rung, best: Rung) -> bool:
        if not rung.known or rung.diverged:
            return False
        worse = best.mean - rung.mean if self.higher else rung.mean - best.mean
        return worse <= NEAR * abs(best.mean)

    @property
    def sensitivity(self) -> str:
        """The factor between the lowest and the highest rate that are near the best: `10×`, `≥ 10×` where the ladder
        ends there, `1×` where the rungs beside the best are not near; empty with one rate.
        """
        near = self.near
        if near is None:
            return ""
        ends = (self.tried[0].lr, self.tried[-1].lr)
        open_ = near[0] == ends[0] or near[1] == ends[1]  # a rate beyond the ladder may be near, too
        return f"{'≥ ' if open_ else ''}{_factor(near[1] / near[0])}×"

    @property
    def diverged(self) -> list[tuple[Rung, Divergence]]:
        """Every divergence with its rung."""
        return [(rung, each) for rung in self.rungs for each in rung.diverged]


def _factor(value: float) -> str:
    """`1`, `3.3`, `10`: a rate's share of another without zeros that say nothing."""
    return digits(value, 2).removesuffix(".0")


def families_of(run: StoredRun, members: pd.DataFrame, cells: Sequence[Cell], found: HeldOut | None) -> list[Family]:
    """The families of a group of `trials_frame`, in stored order. found: what its cells reached on held-out data."""
    trials: dict[str, list[Record]] = {}
    for cell, record in zip(members["cell"], members["record"], strict=True):
        trials.setdefault(str(cell), []).append(record)
    last = _common_length(run, members)
    rungs = [_rung(run, cell, trials[cell.cell], found, last) for cell in cells]
    keys = [key for key in telling([rung.recipe for rung in rungs]) if key != "lr"]
    grouped: dict[Recipe, list[Rung]] = {}
    for rung in rungs:
        grouped.setdefault(rung.recipe.model_copy(update={"lr": None}), []).append(rung)
    higher = found is not None and found.higher
    recipes = list(grouped)
    named = zip(recipe_labels(recipes, keys), grouped.values(), short_labels(recipes, keys), strict=True)
    return [Family(label, tuple(sorted(own, key=lambda rung: rung.lr)), higher, short) for label, own, short in named]


def _common_length(run: StoredRun, members: pd.DataFrame) -> int:
    """The last step that every trial with a series reached, of those that ended OK and did not stop early."""
    lengths = [
        len(run.series[record.trial.id].columns.get("loss", []))
        for record in members["record"]
        if record.status is Status.OK and stopped(record) is None and record.trial.id in run.series
    ]
    return min(lengths, default=0)


def _rung(run: StoredRun, cell: Cell, records: Sequence[Record], found: HeldOut | None, last: int) -> Rung:
    ok = [record for record in records if record.status is Status.OK]
    lost = [record for record in records if record.status is Status.DIVERGED]
    metric = found.metric if found else "loss"
    gaps, trained = (
        tuple(record.metrics[name] for record in ok if name in record.metrics)
        for name in (f"gap_{metric}", f"train_{metric}")
    )
    early = {record.trial.seed: at for record in ok if (at := stopped(record)) is not None}
    return Rung(
        cell=cell,
        recipe=records[0].trial.recipe,
        finals=_by_seed((record.trial.seed, _final(record, found)) for record in ok),
        areas=_by_seed((record.trial.seed, _area(run, record, last)) for record in ok if stopped(record) is None),
        trained=trained,
        gaps=gaps,
        stops={seed: at.step for seed, at in early.items()},
        diverged=tuple(divergence(record, run.series.get(record.trial.id)) for record in lost),
        seeds=len({record.trial.seed for record in records if record.status is not Status.UNSUPPORTED}),
        reach=_reach(cell, [*ok, *lost], found),
        records=tuple(ok),
    )


def _by_seed(values: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    every: dict[int, list[float]] = {}
    for seed, value in values:
        if value is not None and math.isfinite(value):
            every.setdefault(seed, []).append(value)
    return {seed: float(np.mean(own)) for seed, own in sorted(every.items())}


def _final(record: Record, found: HeldOut | None) -> float | None:
    if found is None or not evaluated(record, found.metric):
        return None
    return at_step(record, found.metric, found.step)


def _area(run: StoredRun, record: Record, last: int) -> float | None:
    """Area under the training loss over the first `last` steps, per step."""
    series = run.series.get(record.trial.id)
    losses = [loss for loss in (series.columns.get("loss", []) if series else [])[:last] if loss is not None]
    return float(np.mean(losses)) if last and len(losses) == last else None


def _reach(cell: Cell, records: Sequence[Record], found: HeldOut | None) -> Reach | None:
    """A seed that diverged or stopped early would not have reached its target later: it counts as watched to the end.

    To leave it at the step where it ended would be to say that it might have, as of one that nobody watched any longer.
    """
    if found is None or found.target is None:
        return None
    reached: list[float] = []
    watched: list[float] = []
    for record in {record.trial.seed: record for record in records}.values():
        steps = record.metrics.get("steps_to_target") if record.status is Status.OK else None
        if steps is not None:
            reached.append(steps)
        else:
            watched.append(float(max(found.step, _last(record, found.metric))))
    return reach(found.target, reached, watched, cell.metrics.get("step_s"))


def _last(record: Record, metric: str) -> int:
    return max(evaluated(record, metric), default=0)


def seeds_text(rung: Rung) -> str:
    """`3 of 3`, and how many diverged: `1 of 3, 2 diverged`."""
    lost = f", {len(rung.diverged)} diverged" if rung.diverged else ""
    return f"{len(rung.finals)} of {rung.seeds}{lost}" if rung.seeds else count(0, "seed")
