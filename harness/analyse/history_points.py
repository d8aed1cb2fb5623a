"""The points of histories: from sessions of `harness ab` and from runs, one per version, cell and control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analyse.ab_sessions import Session
from harness.analyse.comparable import refused, unusable
from harness.analyse.criteria import Criterion, criteria
from harness.analyse.frame import trials_frame
from harness.analyse.history import Point, Series, ordered, with_changes, with_standings
from harness.analyse.ratios import log_ratios, ranked
from harness.analyse.stats import Paired
from harness.run.commits import Commit
from harness.run.stored import StoredRun
from harness.schema.measured import Measured

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Key:
    """What a series is of; points of the same key are of one series."""

    source: str
    machine: str
    control: str
    cell: str


@dataclass(frozen=True)
class Found:
    """One point, where it belongs, and how cell and control are called."""

    key: Key
    label: str
    control: str
    counted: bool
    point: Point


def histories(
    metric: str, sessions: Sequence[Session], runs: Sequence[StoredRun], commits: Mapping[str, Commit], warn: Warn
) -> list[Series]:
    """All series of a metric, with their change points and what sessions say of those, by label.

    runs: those whose baseline cell is the control.
    """
    found = [each for session in sessions for each in of_session(session, metric, warn)]
    found += [each for run in runs for each in of_run(run, metric)]
    by_key: dict[Key, list[Found]] = {}
    for each in found:
        by_key.setdefault(each.key, []).append(each)
    series = [_series(metric, key, members, commits) for key, members in by_key.items()]
    series.sort(key=lambda each: (each.label, each.source, each.machine, each.control))
    return [with_standings(with_changes(each), sessions) for each in series]


def _series(metric: str, key: Key, members: Sequence[Found], commits: Mapping[str, Commit]) -> Series:
    newest = max(members, key=lambda each: (each.point.date, each.point.folder))
    points = ordered((each.point for each in members), commits)
    return Series(
        metric, key.cell, newest.label, key.machine, key.source, newest.control, newest.counted, points
    )  # fmt: skip


def of_session(session: Session, metric: str, warn: Warn) -> Iterator[Found]:
    """B against A of each cell that has the metric; cells without a ratio are warned of with the reason."""
    for cell in session.cells:
        a, b = (session.of(arm, cell) for arm in ("a", "b"))
        if not any(metric in item.metrics for item in a):
            continue
        criterion, label = criterion_of(metric, a[0].device), a[0].label or cell
        if reason := refused(a, b) or _no_ratio(criterion, a, b):
            warn(f"{session.folder.name}: {label}: {reason}; left out")
            continue
        point = Point(
            session.b.commit, session.b.name, session.started_at, session.folder.name, *ratio_of(_logs(metric, a, b)),
            dirty=session.b.dirty, suite=session.suite, plugins=session.plugins,
        )  # fmt: skip
        key = Key("sessions", a[0].machine, session.a.name, cell)
        yield Found(key, label, session.a.name, criterion.kind != "timed", point)


def of_run(run: StoredRun, metric: str) -> Iterator[Found]:
    """Each cell against the baseline of its group, round by round."""
    environment = run.info.environment
    whose = "git" if environment.get("git_commit") else "harness"
    commit, dirty = str(environment.get(f"{whose}_commit") or ""), bool(environment.get(f"{whose}_dirty"))
    for _group, members in ranked(trials_frame(run)).groupby("group", sort=False):
        controls = members.loc[members["is_baseline"]]
        if controls.empty or metric not in members:
            continue
        control = controls.iloc[0]
        logs = log_ratios(members, control["cell"], metric)
        for cell, rows in members.groupby("cell", sort=False):
            known = logs[cell].dropna().to_list() if cell in logs and cell != control["cell"] else []
            if not known:
                continue
            row = rows.iloc[0]
            trial = row["record"].trial
            point = Point(
                commit, commit or run.folder.name, run.info.started_at, run.folder.name, *ratio_of(known),
                dirty=dirty, suite=run.info.suite_file, plugins=tuple(each.path for each in trial.plugins),
            )  # fmt: skip
            key = Key("runs", run.info.machine_key, control["record"].trial.lasting_cell, trial.lasting_cell)
            counted = criterion_of(metric, trial.device).kind != "timed"
            yield Found(key, f"{row['group_label']} {row['label']}", control["label"], counted, point)


def criterion_of(metric: str, device: str) -> Criterion:
    """How the metric is judged: what no criterion knows is timed."""
    return next((criterion for criterion in criteria(device) if criterion.metric == metric), Criterion(metric, "timed"))


def ratio_of(logs: Sequence[float]) -> tuple[float, float | None, float | None, int]:
    """Ratio, both ends of its 95 % interval (None with one round) and rounds, from a log ratio per round."""
    paired = Paired.of(np.array(logs))
    centre, (low, high) = math.exp(float(paired.centre[0])), (float(end[0]) for end in paired.interval())
    if math.isnan(low):
        return centre, None, None, len(logs)
    return centre, math.exp(low), math.exp(high), len(logs)


def metrics_of(sessions: Iterable[Session], runs: Iterable[StoredRun]) -> list[str]:
    """Metrics that there are figures of."""
    of_sessions = (item.metrics for session in sessions for item in session.rounds["a"])
    of_runs = (record.metrics for run in runs for record in run.records)
    return sorted(
        {name for metrics in of_sessions for name in metrics} | {name for metrics in of_runs for name in metrics}
    )


def _logs(metric: str, a: Sequence[Measured], b: Sequence[Measured]) -> list[float]:
    first, second = _by_round(metric, a), _by_round(metric, b)
    return [math.log(second[name] / first[name]) for name in first if name in second]


def _by_round(metric: str, side: Sequence[Measured]) -> dict[str, float]:
    return {item.round: float(item.metrics[metric] or 0.0) for item in side if metric in item.metrics}


def _no_ratio(criterion: Criterion, a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """Why there is no ratio of two sides that can be compared; None: there is one."""
    sides = [{item.round: item for item in side if criterion.metric in item.metrics} for side in (a, b)]
    if not sides[0].keys() & sides[1].keys():
        return f"no round has {criterion.metric} on both sides"
    return unusable(replace(criterion, kind="timed"), (sides[0], sides[1]))  # 0 is no ratio, whatever is measured
