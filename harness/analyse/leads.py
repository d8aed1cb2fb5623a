"""What a group says first where its suite asks something else than which cell is fastest: what fits, how much of each
further device is kept, when compiling pays off. Each as a headline in parts, and whether it is settled.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.analyse import compiling, fewer_bits, scaling
from harness.analyse.cells import Cell
from harness.analyse.headline import Part, Parts
from harness.analyse.quantity import SPACE, between, count, duration, listed, times
from harness.analyse.study import Group, Study
from harness.schema.memory_size import memory_text
from harness.schema.record import Record, RunInfo
from harness.schema.trial import Trial

WIDE = 1.5
"""An interval whose ends are further apart than this factor does not tell how well something scales."""


class Lead(NamedTuple):
    """headline, settled: as of an answer; speed: the sentence about what is fastest says more and follows it."""

    headline: Parts
    settled: bool
    speed: bool = True


def lead(info: RunInfo, group: Group) -> Lead | None:
    """What the group says first; None where its question is which cell is fastest, or nothing ended well."""
    if not group.ranking:
        return None
    return _scaling(info, group) or _compiling(group) or _fits(group) or _precisions(group)


def _scaling(info: RunInfo, group: Group) -> Lead | None:
    found = scaling.scaling_of(info, group)
    if found is None or found.start is None:
        return None
    points = [(line, point) for line in found.lines for point in line.known if point.devices == found.most]
    if not points:
        return None
    points.sort(key=lambda pair: -pair[1].share)
    line, best = points[0]
    assert best.speed_up is not None
    assert best.efficiency is not None
    low, high = best.efficiency.low, best.efficiency.high
    unclear = low is None or high is None or low <= 0 or high / low > WIDE
    rest = [f"{other.label} {scaling.kept(point)}" for other, point in points[1:]]
    interval = scaling.interval_in_percent(best.efficiency)
    opening = Part(f"{found.kind} scaling{'' if not unclear else ', undecided'}: on {count(found.most, 'device')} ")
    against = f"{times(best.speed_up.value)} {found.start.cell.label} over {count(best.speed_up.rounds, 'round')}"
    same = ", same loss" if group.same_batch and best.cell.parity == "passed" else ""
    tail = f"{f' {interval}' if interval else ''} of each device's speed, {against}{same}"
    others = f"; {listed(rest)}" if rest else ""
    missing = "more rounds would narrow the interval" if interval else "one round has no interval"
    end = Part(f"{tail}{others}{f'; {missing}' if unclear else ''}.")
    percent = Part(f"{scaling.in_percent(best.share)}{SPACE}%", True)
    return Lead((opening, Part(line.label, True), Part(" keeps "), percent, end), not unclear, speed=False)


def _compiling(group: Group) -> Lead | None:
    """Where compiling is the only technique that cells differ in."""
    records: list[Record] = list(group.trials["record"])
    chosen = {tuple(choice.name for choice in record.trial.techniques) for record in records}
    found = [each for each in compiling.break_evens(group.trials) if each.steps is not None]
    if not found or not chosen <= {(), ("compile",)}:
        return None
    best = min(found, key=lambda each: each.steps or math.inf)
    took = f"{duration(best.compile_s)} of compiling"
    step = best.ratio
    taken = "" if step is None else f"{times(step.value)} {between(step.low, step.high)}".rstrip()
    if best.steps is None or math.isinf(best.steps):
        maybe = best.low is not None and not math.isinf(best.low)
        text = f": after {took} a step of {best.label} takes {taken} of the time without"
        start = Part("undecided, compiling may not pay off" if maybe else "compiling does not pay off", True)
        return Lead((start, Part(f"{text}.")), best.low is not None and not maybe)
    sure = best.high is not None and not math.isinf(best.high)
    ends = f" [{compiling.in_steps(best.low)}, {compiling.in_steps(best.high)}]" if best.low is not None else ""
    soonest = " at the soonest" if len(found) > 1 else ""
    opening = Part("compiling pays off after " if sure else ": compiling pays off after ")
    before = () if sure else (Part("undecided", True),)
    figure = Part(f"{compiling.in_steps(best.steps)} steps", True)
    doubt = "" if sure else "; within the interval it may never" if ends else "; one round has no interval"
    tail = f"{ends}{soonest}, in {best.label}: {took}, then a step takes {taken} of the time without{doubt}."
    return Lead((*before, opening, figure, Part(tail)), sure)


def _precisions(group: Group) -> Lead | None:
    """Where more number formats are compared than strategies."""
    formats, strategies = ({getattr(cell, key) for cell in group.cells} for key in ("precision", "strategy"))
    found = fewer_bits.of(group)
    if len(formats) <= len(strategies) or not found:
        return None
    told: list[Part] = []
    for each in found:
        told += [*([Part("; ")] if told else []), Part(each.precision, True), Part(fewer_bits.in_words(each))]
    opening = Part("against fp32 with the same strategy: ")
    return Lead((opening, *told, Part(".")), all(each.word != "undecided" for each in found))


def _fits(group: Group) -> Lead | None:
    """Where memory is limited, or the largest micro-batch was searched for."""
    trials = {record.trial.cell: record.trial for record in group.trials["record"]}
    cells = [cell for cell in group.cells if cell.status not in ("UNSUPPORTED", "INTERRUPTED")]
    limit = next((trial.memory_limit_bytes for trial in trials.values() if trial.memory_limit_bytes), None)
    where = f"{memory_text(limit)} per device" if limit else "the device's memory"
    searched = [cell for cell in cells if trials[cell.cell].among]
    if searched:
        return _largest(searched, trials, where)
    if limit is None or not cells:
        return None
    fit, large = [cell for cell in cells if cell.ok], [cell for cell in cells if cell.status == "OOM"]
    short = f", not {listed([cell.label for cell in large])}" if large else ""
    text = f" into {where} at {count(trials[cells[0].cell].micro_batch, 'sample')} a forward pass{short}."
    headline = (Part(f"{len(fit)} of {count(len(cells), 'cell')} fit", True), Part(text))
    return Lead(headline, len(fit) + len(large) == len(cells))


def _largest(cells: list[Cell], trials: dict[str, Trial], where: str) -> Lead:
    """By size, the largest first: whose largest micro-batch it is."""
    by_size: dict[int, list[str]] = {}
    for cell in cells:
        trial = trials[cell.cell]
        size = trial.micro_batch if trial.searched else 0
        by_size.setdefault(size, []).append(_without_size(cell, trial))
    sizes = sorted(by_size, reverse=True)
    rest = [f"{size or 'none'} of {listed(by_size[size])}" for size in sizes[1:]]
    if sizes[0] == 0:
        return Lead((Part("no micro-batch fits", True), Part(f" into {where}: {listed(by_size[0])}.")), True)
    opening, most = Part(f"the largest micro-batch that fits into {where} is "), Part(str(sizes[0]), True)
    tail = Part(f", of {listed(by_size[sizes[0]])}{''.join(f'; {text}' for text in rest)}.")
    return Lead((opening, most, tail), True)


def _without_size(cell: Cell, trial: Trial) -> str:
    """The cell's label without the micro-batch, which the sentence tells."""
    rest = cell.options.removeprefix(f"micro_batch {trial.micro_batch_text}").removeprefix(", ")
    return f"{cell.main} ({rest})" if rest else cell.main


def overall(study: Study) -> list[str]:
    """What a run of workloads that are judged by their targets says of all of them: how many reached theirs in every
    seed, and which did not; nothing where there is no such group.
    """
    known = [
        (group, rung.reach)
        for group in study.groups
        if group.learning is not None and group.learning.kind == "workload"
        for rung in group.learning.families[0].rungs[:1]
    ]
    with_target = [(group, at) for group, at in known if at is not None]
    missed = [group.label for group, at in with_target if not at.all]
    gone = [group.label for group, at in known if at is None]
    reached, of = len(with_target) - len(missed), count(len(with_target), "workload")
    told = f"{reached} of {of} reached the target in every seed{f'; not {listed(missed, most=8)}' if missed else ''}."
    return [
        *([told] if with_target else []),
        *([f"Without a target or a value: {listed(gone, most=8)}."] if gone else []),
    ]
