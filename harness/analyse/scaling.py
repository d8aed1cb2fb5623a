"""Scaling: what becomes of the throughput on more devices, with the batch fixed (strong) or fixed per device (weak).

Cells of other batches or numbers of devices are compared in this way only. The reference is the group's baseline, which
should be `single` on one device; ratios are taken round by round as in `ratios`, so that drift of the machine cancels.

speed-up = samples_per_s of the cell ÷ samples_per_s of the baseline
efficiency = speed-up ÷ (devices of the cell ÷ devices of the baseline)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from harness.analyse.cells import SPEED, Cell
from harness.analyse.frame import BATCHES, compared_keys, setting, setting_text
from harness.analyse.headline import ended
from harness.analyse.quantity import SPACE, count, digits, listed, times
from harness.analyse.ratios import Ratio
from harness.analyse.study import Group, Study
from harness.schema.record import RunInfo
from harness.schema.trial import Trial

Kind = Literal["strong", "weak"]
VARY = ("devices", *BATCHES)
"""Keys in which the cells of a line differ."""
ALIKE = ("techniques", "recipe", "steps", "device", "precision")
"""Keys that tell families of one workload and size apart, where they are not compared."""


@dataclass(frozen=True)
class Point:
    """A cell on its devices. batch: samples per step; speed_up, efficiency: with their intervals, None where the cell
    and the baseline have no round in common.
    """

    cell: Cell
    devices: int
    batch: int
    speed_up: Ratio | None = None
    efficiency: Ratio | None = None

    @property
    def share(self) -> float:
        """The efficiency, 0 where it is not known."""
        return self.efficiency.value if self.efficiency else 0.0

    @property
    def why_not(self) -> str:
        """Why there is no efficiency: how the cell ended, or that there is nothing to compare it with."""
        return "" if self.efficiency else ended(self.cell) if not self.cell.ok else "no baseline in its rounds"


@dataclass(frozen=True)
class Line:
    """Cells that differ in nothing but their devices. label: what they have in common (`ddp`)."""

    label: str
    points: tuple[Point, ...]

    @property
    def known(self) -> list[Point]:
        """Points with an efficiency, fewest devices first."""
        return [point for point in self.points if point.efficiency]


@dataclass(frozen=True)
class Scaling:
    """A group over its numbers of devices. batch: samples per step, of all devices (strong) or of each (weak); start:
    the baseline, None where it has no figure.
    """

    group: Group
    kind: Kind
    batch: int
    start: Point | None
    lines: tuple[Line, ...]

    @property
    def fixed(self) -> str:
        """What does not change with the devices: `64 samples a step`, `32 samples a device`."""
        return f"{count(self.batch, 'sample')} a {'step' if self.kind == 'strong' else 'device'}"

    @property
    def most(self) -> int:
        """The most devices of any cell."""
        return max(point.devices for line in self.lines for point in line.points)


@dataclass(frozen=True)
class Family:
    """Strong and weak scaling of one workload, recipe, …: they belong into one picture."""

    label: str
    scalings: tuple[Scaling, ...]

    def name(self, scaling: Scaling, line: Line) -> str:
        """`ddp strong`; where several scalings of the family are strong, `ddp 64 samples a step`."""
        alone = [each.kind for each in self.scalings].count(scaling.kind) == 1
        return f"{line.label} {scaling.kind if alone else scaling.fixed}"

    @property
    def known(self) -> list[tuple[Scaling, Line]]:
        """Lines that have an efficiency, the most efficient on their most devices first."""
        found = [(each, line) for each in self.scalings for line in each.lines if line.known]
        return sorted(found, key=lambda pair: -pair[1].known[-1].share)


def efficiency(speed_up: Ratio, devices: int, of: int = 1) -> Ratio:
    """A speed-up on `devices` over the throughput on `of`, as a share of the ideal one; its interval likewise.

    efficiency = speed-up ÷ (devices ÷ of)
    """
    ideal = devices / of
    low, high = (None if end is None else end / ideal for end in (speed_up.low, speed_up.high))
    per_round = tuple(ratio / ideal for ratio in speed_up.per_round)
    return replace(speed_up, value=speed_up.value / ideal, low=low, high=high, p=None, per_round=per_round)


def scaling_of(info: RunInfo, group: Group) -> Scaling | None:
    """The group over its numbers of devices; None where they are not compared, or are the same for all its cells."""
    trials: dict[str, Trial] = {record.trial.cell: record.trial for record in group.trials["record"]}
    if "devices" not in compared_keys(info) or len({trial.cell_devices for trial in trials.values()}) < 2:
        return None
    baseline, start = group.baseline, None
    if baseline is not None and SPEED in baseline.metrics:
        trial = trials[baseline.cell]
        start = Point(baseline, trial.cell_devices, trial.global_batch)
    lines: dict[str, list[Point]] = {}
    for cell in group.cells:
        if not cell.is_baseline:
            trial = trials[cell.cell]
            lines.setdefault(_line_label(info, trial), []).append(_point(cell, trial, start))
    first = next(iter(trials.values()))
    return Scaling(
        group,
        "strong" if first.batch_per_device is None else "weak",
        first.batch_per_device or first.global_batch,
        start,
        tuple(Line(label, tuple(sorted(lines[label], key=lambda each: each.devices))) for label in sorted(lines)),
    )


def _point(cell: Cell, trial: Trial, start: Point | None) -> Point:
    point = Point(cell, trial.cell_devices, trial.global_batch)
    if start is None or cell.ratio is None:
        return point
    return replace(point, speed_up=cell.ratio, efficiency=efficiency(cell.ratio, point.devices, start.devices))


def _line_label(info: RunInfo, trial: Trial) -> str:
    texts = [setting_text(key, setting(trial, key)) for key in compared_keys(info) if key not in VARY]
    return " ".join(text for text in texts if text) or trial.strategy.label


def families(study: Study) -> list[Family]:
    """All scalings of a run, those of the same together, strong before weak; empty where nothing is scaled."""
    found: dict[tuple[str, ...], list[Scaling]] = {}
    for group in study.groups:
        scaling = scaling_of(study.run.info, group)
        if scaling is not None:
            trial: Trial = group.trials["record"].iloc[0].trial
            name = f"{trial.workload.label}/{trial.size}"
            alike = (key for key in ALIKE if key not in compared_keys(study.run.info))
            key = (name, *(setting_text(key, setting(trial, key)) for key in alike))
            found.setdefault(key, []).append(scaling)
    names = [key[0] for key in found]
    return [
        Family(
            key[0] if names.count(key[0]) == 1 else ", ".join(filter(None, key)),
            tuple(sorted(scalings, key=lambda each: (each.kind, each.batch))),
        )
        for key, scalings in found.items()
    ]


def sentence(scaling: Scaling) -> str:
    """What a scaling says of the most devices: `Strong, 64 samples a step, …: ddp 1.71× (86 % [84, 88] of ideal).`"""
    opening = f"{scaling.kind.capitalize()} scaling at {scaling.fixed}"
    if scaling.start is None:
        return f"{opening}: no efficiency can be given, the baseline has no figure."
    best = [(line.label, point) for line in scaling.lines for point in line.known if point.devices == scaling.most]
    if not best:
        return f"{opening}: no cell on {count(scaling.most, 'device')} has a round in common with the baseline."
    best.sort(key=lambda pair: -pair[1].share)
    told = [f"{label} {in_figures(point)}" for label, point in best]
    return f"{opening}, {count(scaling.most, 'device')} against {scaling.start.cell.label}: {listed(told)}."


def in_figures(point: Point) -> str:
    """`1.71× (86 % [84, 88] of ideal)`; empty where there is no efficiency."""
    if point.speed_up is None or point.efficiency is None:
        return ""
    interval = interval_in_percent(point.efficiency)
    return f"{times(point.speed_up.value)} ({in_percent(point.share)}{SPACE}%{interval and f' {interval}'} of ideal)"


def kept(point: Point) -> str:
    """`60 % [50, 72]`, the share of each device's speed that is kept; empty where there is no efficiency."""
    if point.efficiency is None:
        return ""
    return f"{in_percent(point.share)}{SPACE}% {interval_in_percent(point.efficiency)}".rstrip()


def in_percent(share: float) -> str:
    """A share in per cent without the sign: `86`, `103`."""
    return digits(100 * share, 3 if share >= 0.995 else 2)


def interval_in_percent(ratio: Ratio) -> str:
    """`[84, 88]`; nothing where there is no interval."""
    if ratio.low is None or ratio.high is None:
        return ""
    return f"[{in_percent(ratio.low)}, {in_percent(ratio.high)}]"
