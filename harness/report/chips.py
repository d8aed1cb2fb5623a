"""Chips: the switches of the page's filter, one for each strategy and for each thing in which recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analyse.study import Study
from harness.report.family_look import drawn
from harness.report.look import Look, look_of
from harness.schema.trial import Trial

STRATEGY = "strategy"
PARTS = ("optimizer", "schedule", "regularizers")
"""Keys of a recipe whose values have names."""


@dataclass(frozen=True)
class Chip:
    """A switch. css: class of what it hides; token: as it stands in the page's address; slot: number of its hue, None
    where what it switches has no hue of its own.
    """

    css: str
    name: str
    token: str
    slot: int | None


@dataclass(frozen=True)
class Axis:
    """Switches for one thing in which cells differ. A cell is hidden where all that it has on any axis is off."""

    name: str
    chips: tuple[Chip, ...]


def axes_and_look(studies: Sequence[Study]) -> tuple[list[Axis], Look]:
    """The switches of a page, and how its strategies look and its cells are found by them.

    Strategies are left out where there is but one: a switch alone would hide all there is.
    """
    look = look_of(*_strategies(studies))
    trials = {record.trial.cell: record.trial for each in studies for record in each.trials["record"]}
    names = {key: list(dict.fromkeys(name for trial in trials.values() for name in _names(trial, key))) for key in
             _compared(studies)}  # fmt: skip
    names = {key: found for key, found in names.items() if len(found) > 1}
    if len(look.slots) > 1:
        names = {STRATEGY: list(look.slots)} | names
    hues = _hues(studies) | {(STRATEGY, name): slot for name, slot in look.slots.items()}
    number = iter(range(sum(map(len, names.values()))))
    axes = [
        Axis(key, tuple(Chip(f"f{next(number)}", name, _token(key, name), hues.get((key, name))) for name in found))
        for key, found in names.items()
    ]
    css = {(axis.name, chip.name): chip.css for axis in axes for chip in axis.chips}
    classes = {
        cell: tuple(css[axis.name, name] for axis in axes for name in _names(trial, axis.name))
        for cell, trial in trials.items()
    }
    return axes, replace(look, classes=classes)


def _strategies(studies: Sequence[Study]) -> tuple[set[str], set[str]]:
    """All strategies of a page, and those of them that none of its trials could run with."""
    pairs = {pair for each in studies for pair in zip(each.trials["strategy"], each.trials["status"], strict=True)}
    named, ran = {str(name) for name, _status in pairs}, {name for name, status in pairs if status != "UNSUPPORTED"}
    return named, named - ran


def _compared(studies: Sequence[Study]) -> list[str]:
    """The parts of recipes in which any group's recipes differ."""
    found = {
        key for each in studies for group in each.groups if group.learning is not None for key in group.learning.keys
    }
    return [key for key in PARTS if key in found]


def _names(trial: Trial, key: str) -> list[str]:
    """What the trial has of one thing, options left out: its strategy, its optimizer, its regularizers."""
    if key == STRATEGY:
        return [trial.strategy.name]
    value = getattr(trial.recipe, key)
    if isinstance(value, tuple | list):
        return [choice.name for choice in value] or [f"no {key}"]
    return [] if value is None else [value.name]


def _token(key: str, name: str) -> str:
    return name if key == STRATEGY else f"{key}.{name}"


def _hues(studies: Sequence[Study]) -> dict[tuple[str, str], int]:
    """By part and name: the hue of the families that have it, where it is one and the same for all of them."""
    found: dict[tuple[str, str], set[int]] = {}
    for part, number in _drawn(studies):
        found.setdefault(part, set()).add(number)
    return {part: next(iter(numbers)) for part, numbers in found.items() if len(numbers) == 1}


def _drawn(studies: Sequence[Study]) -> Iterator[tuple[tuple[str, str], int]]:
    learnings = [group.learning for each in studies for group in each.groups if group.learning is not None]
    for found in learnings:
        for each in drawn(found):
            trial = each.best.records[0].trial
            yield from (((key, name), each.number) for key in PARTS for name in _names(trial, key))
