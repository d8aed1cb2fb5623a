"""Figures to be seen at a glance: fastest, least memory, first to target, run-to-run noise, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from harness.analyse.answer import SAME_LEARNING, same_memory
from harness.analyse.cells import MEMORY
from harness.analyse.headline import ENDING
from harness.analyse.learned_answer import named
from harness.analyse.quantity import count, digits, duration, listed, percent, rate, size, times
from harness.analyse.ratios import ranked
from harness.analyse.study import Group, Study
from harness.analyse.target import seconds_text


@dataclass(frozen=True)
class Line:
    """A figure and whose it is. group is empty where the figure is of the whole run."""

    figure: str
    what: str
    group: str = ""


@dataclass(frozen=True)
class Tile:
    """What is shown under one title, a line per group; note: how to read it; alarming: something went wrong."""

    title: str
    lines: tuple[Line, ...]
    note: str = ""
    alarming: bool = False


def tiles(study: Study) -> list[Tile]:
    """All tiles that the run has figures for, in the order they are shown."""
    alone = all(group.learning is None or group.learning.kind == "workload" for group in study.groups)
    by_group = [
        Tile("Learned" if alone else "Learns best", _each(study, _learns_best), "held-out metric, mean over seeds"),
        Tile(
            "To the target" if alone else "First to target", _each(study, _first), "training seconds, median of seeds"
        ),
        Tile("Fastest", _each(study, _fastest), f"throughput{'' if study.ratios.empty else ' against the baseline'}"),
        Tile("Least memory", _each(study, _least), "peak bytes of tensors on a device"),
        Tile("Learned", _each(study, _learned), "training seconds to the target, else the held-out metric"),
    ]
    about_speed = study.noise is not None or not all(group.learning for group in study.groups)
    noise = [_noise(study)] if about_speed else []
    return [*(tile for tile in by_group if tile.lines), *noise, _failures(study)]


def _each(study: Study, line: Callable[[Group], Line | None]) -> tuple[Line, ...]:
    return tuple(found for group in study.groups if (found := line(group)) is not None)


def _learns_best(group: Group) -> Line | None:
    """The best recipe at its best rate, and that it is not shown to be the only one where it is not."""
    found = group.learning
    if found is None or not found.known or found.known[0].best is None:
        return None
    best, rung = found.known[0], found.known[0].best
    if found.kind == "workload":
        return Line(digits(rung.mean), found.name, group.label)
    others = len(found.ties)
    said = f", not shown better than {count(others, 'other')}" if others else ""
    return Line(digits(rung.mean), f"{named(found, best)}, {found.name}{said}", group.label)


def _first(group: Group) -> Line | None:
    """First to the target, where all its seeds reached it."""
    found = group.learning
    family = found.first if found else None
    if found is None or family is None or family.best is None or family.best.reach is None:
        return None
    what = (
        family.best.reach.of_seeds
        if found.kind == "workload"
        else f"{named(found, family)}, {family.best.reach.of_seeds}"
    )
    return Line(seconds_text(family.best.reach), what, group.label)


def _fastest(group: Group) -> Line | None:
    """The fastest cell, with its verdict where that is not `faster`; none where the group is about learning."""
    if not group.ranking or group.learning:
        return None
    best = group.ranking[0]
    if best.speed is None or len(group.ranking) == 1:
        return Line(rate(best.metrics[group.rate], group.unit), best.label, group.label)
    word = ", the baseline" if best.is_baseline else f", {best.verdict}" if best.verdict != "faster" else ""
    return Line(times(best.speed), best.label + word, group.label)


def _least(group: Group) -> Line | None:
    known = group.with_metric(MEMORY)
    if not known or group.learning:
        return None
    least = min(known, key=lambda cell: cell.metrics[MEMORY])
    return Line(size(least.metrics[MEMORY]), "all cells" if same_memory(known) else least.label, group.label)


def _learned(group: Group) -> Line | None:
    """First to the target that all have, of the cells all of whose rounds reached it; else the best held-out value."""
    if group.learning:
        return None
    found, trials = group.held_out, ranked(group.trials)
    if "time_to_target_s" in trials and group.same_batch and found is not None and found.target is not None:
        missed = set(trials.loc[trials["time_to_target_s"].isna(), "cell"])
        reached = [cell for cell in group.with_metric("time_to_target_s") if cell.cell not in missed]
        if reached:
            first = min(reached, key=lambda cell: cell.metrics["time_to_target_s"])
            return Line(duration(first.metrics["time_to_target_s"]), f"{first.label}, first to target", group.label)
    if found is None:
        return None
    same = len(found.rounds) > 1 and found.spread <= SAME_LEARNING
    who = "all cells" if same else group.named(found.best).label
    return Line(digits(found.values[found.best]), f"{who}, {found.name} at step {found.step}", group.label)


def _noise(study: Study) -> Tile:
    if study.noise is None:
        return Tile("Run-to-run noise", (Line("unknown", "no cell has two rounds"),))
    what = f"of step time between rounds of a cell ({count(study.noise.df, 'degree of freedom', 'degrees of freedom')})"
    note = "single runs that differ by less say nothing; ratios within rounds cancel part of it"
    return Tile("Run-to-run noise", (Line(f"± {percent(study.noise.sd)}", what),), note)


def _failures(study: Study) -> Tile:
    started, failed = len(study.trials) - len(study.unsupported), study.failures
    how = listed(
        [f"{number} {ENDING.get(status, status)}" for status, number in Counter(failed["status"]).most_common()]
    )
    off = len(study.unsupported)
    note = f"{count(off, 'cell')} not supported on this machine" if off else ""
    line = Line(f"{len(failed)} of {started:,}", how or "all that could run ended well")
    return Tile("Failures", (line,), note, alarming=not failed.empty)
