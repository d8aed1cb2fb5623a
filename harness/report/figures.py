"""Figures of a group: each picture with its title, how to read it, its colours in words, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from harness.analyse.answer import all_alike, held_out_in_words, in_figures
from harness.analyse.cells import MEMORY, Cell
from harness.analyse.frame import compared_keys
from harness.analyse.predicted import in_words
from harness.analyse.quantity import digits, duration, listed, rate, size
from harness.analyse.study import Group, Study
from harness.report.bar_charts import PREDICTED, memory_kinds, step_parts
from harness.report.curves import CURVES_AT_MOST, loss_by_step, loss_by_time, loss_curves
from harness.report.look import CHANGES, KINDS, PARTS, Look
from harness.report.picture import Picture
from harness.report.row_charts import forest, held_out, rounds
from harness.report.rows import ROWS_AT_MOST, shown_cells
from harness.report.scatter import scatter
from harness.report.waterfall_chart import described, step_changes, waterfalls

GROUPS_AT_MOST = 4
"""Groups that get pictures; the tables hold all."""
NO_LOSS = "No loss by step was kept for a cell that ended well."


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    how: to read it; summary: what it shows in words, for those who do not see it; keys: CSS class and word of each
    colour; picture: SVG, None where there is none; empty: why.
    """

    id: str
    title: str
    how: str
    summary: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    picture: Markup | None = None
    empty: str = ""


@dataclass(frozen=True)
class Sketch:
    """A figure before it is drawn. shows: what it shows, a text per cell; empty: to be said where there is nothing."""

    id: str
    title: str
    how: str
    draw: Callable[[Picture], Markup | None]
    shows: list[str]
    empty: str
    keys: dict[str, str] = field(default_factory=dict)

    def drawn(self, look: Look) -> Figure:
        """Draw it."""
        svg = self.draw(Picture(look, f"{self.id}-title", f"{self.id}-summary"))
        if svg is None:
            return Figure(self.id, self.title, "", empty=self.empty)
        summary = f"{'; '.join(self.shows[:ROWS_AT_MOST])}." if self.shows else self.title
        return Figure(self.id, self.title, self.how, summary, tuple(self.keys.items()), svg)


def figures(study: Study, group: Group, look: Look, prefix: str) -> list[Figure]:
    """All figures of a group: how fast, how large, how sure; why; what is learned.

    None where no cell ended well, and where the group is about learning: it has a section of its own.

    What is learned per step is shown only where all cells have the same batch.
    prefix: makes their ids unique in the page.
    """
    if not group.ranking or group.learning:
        return []
    sketches = [
        _forest(group, f"{prefix}-ratios"),
        _scatter(study, group, f"{prefix}-memory"),
        _rounds(group, f"{prefix}-rounds"),
        _changes(group, f"{prefix}-changes"),
        _parts(group, f"{prefix}-parts"),
        _kinds(group, f"{prefix}-kinds"),
        *([_loss_by_step(study, group, f"{prefix}-steps")] if group.same_batch else []),
        *([_loss_by_time(study, group, f"{prefix}-time")] if group.same_batch else []),
        *([_held_out(group, f"{prefix}-held-out")] if group.same_batch else []),
    ]
    return [sketch.drawn(look) for sketch in sketches]


def _forest(group: Group, id_: str) -> Sketch:
    more = len(group.cells) > ROWS_AT_MOST
    cut = f" {ROWS_AT_MOST} of {len(group.cells):,} cells; the table holds all." if more else ""
    return Sketch(
        id_,
        f"Throughput against {group.baseline.label if group.baseline else 'the baseline'}",
        f"Mean ratio over rounds with its 95 % interval; right is faster. Filled: a difference is shown.{cut}",
        lambda picture: forest(group, picture),
        [f"{cell.label} {in_figures(cell) or 'baseline'}" for cell in group.ranking if cell.speed is not None],
        "No ratio can be drawn: it takes the baseline and another cell that ended well in the same round.",
    )


def _scatter(study: Study, group: Group, id_: str) -> Sketch:
    capacity = _capacity(study)
    height = min(400.0, max(260.0, 32.0 * len(shown_cells(group)) - 6))
    how = (
        f"{group.unit.capitalize()}s per second; up and left is better. Filled and on the dashed line: the Pareto "
        "front, no other cell is both faster and smaller."
    )
    return Sketch(
        id_,
        "Throughput against memory",
        f"{how} A device has {size(capacity)}." if capacity else how,
        lambda picture: scatter(group, picture, height, capacity),
        [_throughput_and_memory(group, cell) for cell in group.with_metric(MEMORY)],
        "Peak memory of tensors was not measured in at least two cells that ended well.",
    )


def _throughput_and_memory(group: Group, cell: Cell) -> str:
    return f"{cell.label} {rate(cell.metrics[group.rate], group.unit)} at {size(cell.metrics[MEMORY])}"


def _loss_by_step(study: Study, group: Group, id_: str) -> Sketch:
    curves = loss_curves(study.run, group, "step")
    smoothed = ", smoothed" if any(len(curve.x) >= 38 for curve in curves) else ""
    most = f" The {CURVES_AT_MOST} fastest of {len(group.ranking):,} cells." if len(curves) < len(group.ranking) else ""
    same = "A strategy must not change what is learned: the curves should be one."
    meant = "Recipes change what is learned per step." if "recipe" in compared_keys(study.run.info) else same
    how = f"{meant} Mean over rounds{smoothed}; dashes tell precisions apart.{most}"
    shows = [f"{curve.cell.label} {digits(curve.end[1])} at step {curve.end[0]:.0f}" for curve in curves]
    return Sketch(id_, "Training loss by step", how, lambda picture: loss_by_step(curves, picture), shows, NO_LOSS)


def _loss_by_time(study: Study, group: Group, id_: str) -> Sketch:
    curves = loss_curves(study.run, group, "train_s")
    how = (
        "The same curves over training seconds, warm-up included, with the seconds at which each ends: further left is "
        "sooner."
    )
    shows = [f"{curve.cell.label} {digits(curve.end[1])} after {duration(curve.end[0])}" for curve in curves]
    return Sketch(id_, "Training loss by time", how, lambda picture: loss_by_time(curves, picture), shows, NO_LOSS)


def _keys(letter: str, named: Mapping[str, tuple[str, str]], there: Collection[str]) -> dict[str, str]:
    """Class and word of each colour that the picture has."""
    pairs = enumerate(named.items())
    return {f"{letter}{number}": text for number, (key, (text, _colour)) in pairs if key in there}


def _parts(group: Group, id_: str) -> Sketch:
    return Sketch(
        id_,
        "Where a step's time goes",
        "Parts are timed in steps of their own, so that no clock is in the timed window. Line and figure: a step of "
        "that window; in brackets what it takes more (+) or less (−) than its parts.",
        lambda picture: step_parts(group, picture),
        [f"{cell.label}: {listed(_parts_in_words(cell))}" for cell in group.ranking],
        "The parts of a step were not timed in any cell that ended well.",
        _keys("p", PARTS, {part for cell in group.ranking for part in cell.metrics}),
    )


def _changes(group: Group, id_: str) -> Sketch:
    baseline = group.baseline.label if group.baseline else "the baseline"
    return Sketch(
        id_,
        "What makes a step shorter or longer",
        f"Stairs from a step of {baseline} down to the cell's own, part by part: to the left is time saved, to the "
        "right time spent. Communication is in the backward pass; rest: what the parts, timed in steps of their own, "
        "do not account for.",
        lambda picture: step_changes(group, picture),
        described(group),
        "It takes the parts of the baseline's step and of another cell's.",
        _keys("p", CHANGES, {each.part for one in waterfalls(group).values() for each in one.changes}),
    )


def _parts_in_words(cell: Cell) -> list[str]:
    return [f"{name} {duration(cell.metrics[part])}" for part, (name, _) in PARTS.items() if part in cell.metrics]


def _rounds(group: Group, id_: str) -> Sketch:
    most = max((cell.ok for cell in group.cells), default=0)
    return Sketch(
        id_,
        "How sure is this",
        f"Each dot is a round, {most} at most: throughput over the baseline's of the same round. The baseline's own "
        "dots are its rounds over their mean: what the machine did between rounds.",
        lambda picture: rounds(group, picture),
        [f"{cell.label}: {cell.verdict}" for cell in group.ranking if cell.verdict],
        "There are no rounds to set side by side: it takes the baseline and another cell.",
    )


def _kinds(group: Group, id_: str) -> Sketch:
    split = any(kind in cell.metrics for cell in group.ranking for kind in KINDS)
    counted = "Bytes of tensors on the fullest device at the moment of the peak."
    predicted = any(PREDICTED in cell.metrics for cell in group.ranking)
    mark = " Triangle: the peak that was predicted before anything was measured." if predicted else ""
    differs = f" {in_words(group)}" if predicted else ""
    return Sketch(
        id_,
        "Memory by kind",
        (counted if split else "Peak of the device's allocator in the timed window; kinds were not counted.")
        + mark
        + differs,
        lambda picture: memory_kinds(group, picture),
        [f"{cell.label} {size(cell.metrics[MEMORY])}" for cell in group.with_metric(MEMORY)],
        "Peak memory of tensors was not measured in any cell that ended well.",
        _keys("k", KINDS, {kind for cell in group.ranking for kind in cell.metrics}) if split else {},
    )


def _held_out(group: Group, id_: str) -> Sketch:
    found = group.held_out
    how = ""
    empty = "No held-out evaluation is common to the cells that ended well."
    if found is not None:
        target = f" The workload's target is {digits(found.target)}." if found.target is not None else ""
        empty = f"{held_out_in_words(group)}{target}"
        how = f"{'Higher' if found.higher else 'Lower'} is better. A dot per round, the mean in figures.{target}"
    return Sketch(
        id_,
        f"Held-out {found.name}" if found else "Held-out metric",
        how,
        lambda picture: None if all_alike(group) else held_out(group, picture),
        [f"{group.named(cell).label} {digits(value, 4)}" for cell, value in (found.values if found else {}).items()],
        empty,
    )


def _capacity(study: Study) -> float | None:
    """Bytes of the smallest accelerator that the environment names, or None."""
    memory = study.run.info.environment.get("accelerator_memory_bytes")
    known = [float(value) for value in memory if isinstance(value, (int, float))] if isinstance(memory, list) else []
    return min(known, default=None)
