"""A metric over commits, each against a control of its own session: series, change points, and what those are.

Stored wall times of identical code differ by 94 % from one time to another; ratios to a control of the same session do
not. An alarm of the model says that a level changed, and about where. What is to blame is said by a session of
`harness ab` of the commits on both sides; until there is one the change is `to be confirmed`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.analyse import change_points
from harness.analyse.ab_sessions import Session
from harness.analyse.compare import compare
from harness.run.commits import Commit
from harness.schema.metrics import metric as definition_of

Standing = Literal["to be confirmed", "regression", "improvement", "not confirmed"]
COUNTED_FROM = 0.01
"""What a counted metric must differ by, as in the gate."""
AROUND = change_points.NEAR
"""Points by which a change may be misplaced: where the two at it show nothing, those so far apart may."""


@dataclass(frozen=True)
class Point:
    """One version against the control. ratio, low, high: to it, and the 95 % interval where there are enough rounds.

    commit: full hash, empty where none is known; name: what stands for it then; dirty: the tree was not as committed;
    folder: of the session or run; suite, plugins: what was measured there.
    """

    commit: str
    name: str
    date: str
    folder: str
    ratio: float
    low: float | None = None
    high: float | None = None
    rounds: int = 1
    dirty: bool = False
    subject: str = ""
    suite: str = ""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A change point. at: number of the first point of the new level; seen: of the one at which it was noticed.

    before, after: medians of the levels; why: what the session says that decided the standing; around: how many points
    further to both sides than the change its commits are.
    """

    at: int
    seen: int
    before: float
    after: float
    standing: Standing = "to be confirmed"
    why: str = ""
    around: int = 0

    @property
    def factor(self) -> float:
        """New level ÷ old level."""
        return self.after / self.before


@dataclass(frozen=True)
class Series:
    """One metric of one cell on one machine against one control.

    cell: its lasting hash; source: `sessions` (of harness ab: the control is commit A) or `runs` (it is the baseline
    cell, whose code is said not to have changed); counted: no noise, every difference is a change.
    """

    metric: str
    cell: str
    label: str
    machine: str
    source: str
    control: str
    counted: bool
    points: list[Point]
    changes: list[Change] = field(default_factory=list)

    @property
    def level(self) -> float:
        """The median of all points."""
        return statistics.median(point.ratio for point in self.points)

    def sides(self, change: Change, around: int = 0) -> tuple[Point, Point]:
        """The last point of the old level and the first of the new one; around: so many further to both sides."""
        last = len(self.points) - 1
        return self.points[max(0, change.at - 1 - around)], self.points[min(last, change.at + around)]

    def worse(self, change: Change) -> bool:
        """Whether the new level is the worse one, by the dictionary of metrics."""
        return (change.factor > 1) != (definition_of(self.metric).better == "higher")

    def next_around(self, change: Change) -> int | None:
        """How far to both sides to ask next: first the two at the change, where they show nothing those around it.

        None: all is asked, or the sides are no two commits that can be compared again.
        """
        around = {"to be confirmed": 0, "not confirmed": AROUND}.get(change.standing)
        if around is None or change.around == AROUND or not self.askable(change, around):
            return None
        return around

    def askable(self, change: Change, around: int = 0) -> bool:
        """Whether both sides are commits that can be compared again."""
        before, after = self.sides(change, around)
        return (
            bool(before.commit and after.commit) and before.commit != after.commit and not (before.dirty or after.dirty)
        )


def ordered(points: Iterable[Point], commits: Mapping[str, Commit]) -> list[Point]:
    """In the order of their commits where the repository knows them all, with the commits' dates; else as measured."""
    measured = sorted(points, key=lambda each: (each.date, each.folder))
    if not all(each.commit in commits for each in measured):
        return measured
    known = [(commits[each.commit], each) for each in measured]
    dated = [(commit.order, replace(each, date=commit.date, subject=commit.subject)) for commit, each in known]
    return [each for _order, each in sorted(dated, key=lambda pair: pair[0])]


def with_changes(series: Series) -> Series:
    """The series with its change points: by ranks where it is timed, by every difference where it is counted."""
    ratios = [each.ratio for each in series.points]
    if series.counted:
        found = change_points.jumps(ratios, COUNTED_FROM)
    else:
        found = change_points.change_points([math.log(ratio) for ratio in ratios])
    edges = [0, *(each.at for each in found), len(ratios)]
    levels = [statistics.median(ratios[begin:end]) for begin, end in itertools.pairwise(edges)]
    changes = [Change(each.at, each.seen, levels[n], levels[n + 1]) for n, each in enumerate(found)]
    return replace(series, changes=changes)


def with_standings(series: Series, sessions: Sequence[Session]) -> Series:
    """The series with what stored sessions say of its changes: the newest that has both commits decides."""
    return replace(series, changes=[_stands(series, change, sessions) for change in series.changes])


def _stands(series: Series, change: Change, sessions: Sequence[Session]) -> Change:
    pairs = {
        tuple(point.commit for point in series.sides(change, around)): around
        for around in (0, AROUND)
        if series.askable(change, around)
    }
    for session in reversed(sessions):
        rounds = session.of("a", series.cell) if session.commits in pairs and not session.b.dirty else []
        if rounds and rounds[0].machine == series.machine:
            return _by_session(series, replace(change, around=pairs[session.commits]), session)
    return change


def _by_session(series: Series, change: Change, session: Session) -> Change:
    """Its verdict on the cell and metric, corrected over all that the session compared."""
    cells = {item.cell for item in session.of("a", series.cell)}
    judged = compare(*(session.rounds[arm] for arm in ("a", "b", "null")))
    found = next((each for each in judged if each.cell in cells and each.metric in (series.metric, "status", "")), None)
    if found is None:
        return replace(change, standing="not confirmed", why=f"harness ab does not judge {series.metric}")
    effect = f"{found.effect:.3f}× " if found.effect is not None else ""
    apart = f" {change.around} versions to both sides" if change.around else ""
    why = f"{session.folder.name}{apart}: {found.verdict}, {effect}{found.reason}"
    standing: Standing = "not confirmed"
    if found.verdict == "regressed" and series.worse(change):
        standing = "regression"
    elif found.verdict == "improved" and not series.worse(change):
        standing = "improvement"
    return replace(change, standing=standing, why=why)
