"""From the records of a group to its families: seeds put together, rungs in order, names that tell families apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from harness.analyse.cells import Cell, HeldOut
from harness.analyse.evaluations import at_step, divergence, evaluated, stopped
from harness.analyse.families import Family, Rung
from harness.analyse.target import Reach, reach
from harness.run.stored import StoredRun
from harness.schema.recipe_text import parts_text, telling
from harness.schema.record import Record, Status
from harness.schema.suite import Choice, Recipe


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
    named = zip(_labels(list(grouped), keys), grouped.values(), strict=True)
    return [Family(label, tuple(sorted(own, key=lambda rung: rung.lr)), higher) for label, own in named]


def _labels(recipes: Sequence[Recipe], keys: Sequence[str]) -> list[str]:
    """What families differ in; options that most have, all with the same value, are left out where names stay apart."""
    whole = [_label(recipe, keys) for recipe in recipes]
    short = [_label(recipe.model_copy(update=_without_shared(recipe, recipes, keys)), keys) for recipe in recipes]
    return short if len(set(short)) == len(short) else whole


def _without_shared(recipe: Recipe, recipes: Sequence[Recipe], keys: Iterable[str]) -> dict[str, Choice]:
    """The recipe's choices without the options that more than half of the recipes have, all with the same value."""
    update = {}
    for key in keys:
        choices = [value for each in recipes if isinstance(value := getattr(each, key), Choice)]
        given: dict[str, list[object]] = {}
        for choice in choices:
            for name, value in choice.options.items():
                given.setdefault(name, []).append(value)
        shared = {name for name, own in given.items() if 2 * len(own) > len(recipes) and len(set(own)) == 1}
        own = getattr(recipe, key)
        if isinstance(own, Choice) and len(choices) > 1:
            kept = {name: value for name, value in own.options.items() if name not in shared}
            update[key] = Choice(name=own.name, options=kept)
    return update


def _label(recipe: Recipe, keys: Iterable[str]) -> str:
    """What families differ in; where they do not, there is one: its optimizer."""
    return parts_text(recipe, keys) or (recipe.optimizer.label if recipe.optimizer else "recipe")


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
