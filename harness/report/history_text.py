"""What a history says, for the terminal and for other programs: sentences, tables, JSON. Prints nothing itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyse.change_points import FIRST
from harness.analyse.history import AROUND, Change, Point, Series
from harness.analyse.quantity import ABSENT, count, digits
from harness.report.comparison import percent
from harness.report.text import clip

ROWS_AT_MOST = 40
"""Of a series in the terminal, the newest; JSON and page hold all."""
SHORT = 12
"""Digits of a commit that are shown."""
STYLES = {"to be confirmed": "bold yellow", "regression": "bold red", "improvement": "green", "not confirmed": "dim"}


def heading(series: Series) -> str:
    """Which figure of what, where, and against what."""
    against = f"commit {short(series.control)} (A of harness ab)" if series.source == "sessions" else series.control
    return f"{series.metric} of {clip(series.label, 100)} against {clip(against, 100)}, machine {series.machine}"


def short(name: str) -> str:
    """A commit as it is shown; what stands for one where none is known stays as it is."""
    return name[:SHORT] if len(name) == 40 and all(digit in "0123456789abcdef" for digit in name) else clip(name, 60)


def day(point: Point) -> str:
    """The date of a point."""
    return point.date[:10] or ABSENT


def relative(series: Series, ratio: float) -> str:
    """A ratio to the control: to the same cell as what there is more, `+3.1 %`; to another cell as it is, `2.12×`."""
    return percent(ratio) if series.source == "sessions" else f"{digits(ratio)}×"


def interval(series: Series, point: Point) -> str:
    """The 95 % interval of a point."""
    if point.low is None or point.high is None:
        return ABSENT
    return f"{relative(series, point.low)} to {relative(series, point.high)}"


def named(point: Point) -> str:
    """A point's commit, with a mark where the tree was not as committed."""
    return f"{short(point.name)}{' + changes' if point.dirty else ''}"


def sentence(series: Series, change: Change, results: str = "results") -> str:
    """One change: how much, from where on, when it was noticed, what it is, and what to do about it."""
    text, command = advice(series, change, results)
    return f"{brief(series, change)}. {text}{f': {command}' if command else ''}"


def brief(series: Series, change: Change) -> str:
    """One change without what to do about it."""
    _before, after = series.sides(change)
    later = change.seen - change.at
    noticed = f", noticed {count(later, 'version')} later" if later else ""
    where = f"from {named(after)} ({day(after)}) on{noticed}"
    return f"{series.metric} of {clip(series.label, 100)}: {percent(change.factor)} {where}: {change.standing}"


def advice(series: Series, change: Change, results: str = "results") -> tuple[str, str]:
    """What is known of a change or can be done about it, and the command that does; empty where there is none."""
    around = series.next_around(change)
    command = "" if around is None else ask(series, change, results, around)
    if change.standing in ("regression", "improvement"):
        return f"Shown by {change.why}", ""
    if change.standing == "not confirmed":
        more = f". It may be up to {AROUND} versions to either side" if command else ""
        return f"Not shown by {change.why}{more}", command
    if command:
        return "Compare both sides in one session", command
    return f"It cannot be asked again: {_why_not(*series.sides(change))}", ""


def _why_not(before: Point, after: Point) -> str:
    if before.commit and before.commit == after.commit:
        return "both sides are the same commit, so that not the code has changed"
    dirty = before if before.dirty else after
    return f"the tree of {short(dirty.name)} was not as committed" if dirty.dirty else "no commit is known of a side"


def ask(series: Series, change: Change, results: str = "results", around: int = 0) -> str:
    """The command that compares both sides in one session."""
    before, after = series.sides(change, around)
    options = [part for path in after.plugins for part in ("--plugin", path)]
    kept = ["--results", results] if results != "results" else []
    sides = ["--a", before.commit[:SHORT], "--b", after.commit[:SHORT]]
    return shlex.join(["harness", "ab", *sides, after.suite or "SUITE.toml", *options, *kept])


def too_few(series: Series) -> str:
    """What to say where no change could have been seen yet."""
    if series.counted or len(series.points) >= FIRST:
        return ""
    return f"{count(len(series.points), 'version')}: changes of what is timed are looked for from {FIRST} on"


def summary(found: Sequence[Series]) -> str:
    """One sentence over all series."""
    changes = [change for series in found for change in series.changes]
    searched = f"{count(len(found), 'series', 'series')}, {count(sum(len(s.points) for s in found), 'point')}"
    if not changes:
        return f"No change is shown: {searched}."
    by = {word: sum(change.standing == word for change in changes) for word in STYLES}
    told = [f"{number} {word}" for word, number in by.items() if number]
    return f"{count(len(changes), 'change')} ({', '.join(told)}) in {searched}."


def shown(found: Sequence[Series]) -> tuple[list[Series], str]:
    """The series that are shown, and what to say of those that are not: each A/B of two commits is one of one point."""
    many = [series for series in found if len(series.points) > 1]
    if not many or len(many) == len(found):
        return list(found), ""
    return many, f"{count(len(found) - len(many), 'series', 'series')} of one point, with other controls, not shown"


def tables(found: Sequence[Series], results: str = "results") -> RenderableType:
    """The sentence, each series as a table, and what is said of its changes."""
    chosen, rest = shown(found)
    parts = [part for series in chosen for part in _parts(series, results)]
    return Group(Text(summary(chosen), style="bold"), *parts, *([Text(rest, style="dim")] if rest else []))


def _parts(series: Series, results: str) -> Iterator[RenderableType]:
    table = Table(title=heading(series), title_justify="left", box=None, padding=(0, 1), header_style="dim")
    for title in ("commit", "date"):
        table.add_column(title, no_wrap=True)
    for title in ("against control", "95 %", "rounds"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    hidden = len(series.points) - ROWS_AT_MOST
    if hidden > 0:
        table.add_row(f"… {hidden} earlier")
    marks = {change.at: change for change in series.changes}
    for number, point in enumerate(series.points):
        if number >= hidden:
            change = marks.get(number)
            mark = Text(f"◀ {percent(change.factor)} {change.standing}", STYLES[change.standing]) if change else ""
            figures = (relative(series, point.ratio), interval(series, point), str(point.rounds))
            table.add_row(Text(named(point)), day(point), *figures, mark)
    yield Text()
    yield table
    if few := too_few(series):
        yield Text(few, style="dim")
    for change in series.changes:
        yield Text(sentence(series, change, results), style=STYLES[change.standing])


def as_rows(found: Sequence[Series], results: str = "results") -> list[dict[str, Any]]:
    """The series as JSON: points, and changes with both commits, what is said of them and the command that asks."""
    return [
        asdict(series) | {"changes": [_change(series, each, results) for each in series.changes]} for series in found
    ]


def _change(series: Series, change: Change, results: str) -> dict[str, Any]:
    before, after = series.sides(change)
    return {
        **asdict(change),
        "factor": change.factor,
        "commit_before": before.commit,
        "commit_after": after.commit,
        "worse": series.worse(change),
        "ask": advice(series, change, results)[1] or None,
    }
