"""A metric over commits: steps planted in sessions and runs are found, what is left out is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analyse.ab_sessions import read_sessions
from harness.analyse.history import Point, Series, ordered, with_changes
from harness.analyse.history_points import histories, metrics_of
from harness.run.commits import Commit, commits
from harness.run.stored import find_runs, read_run
from tests.histories import CONTROL, commit, stepped_sessions, write_run, write_session


def histories_in(results: Path, metric: str = "step_cpu_s", known: dict[str, Commit] | None = None) -> list[Series]:
    warnings: list[str] = []
    sessions = read_sessions(results, warnings.append)
    runs = [read_run(folder, series=False) for folder in find_runs(results)]
    found = histories(metric, sessions, runs, known or {}, warnings.append)
    assert warnings == []
    return found


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("stepped")
    stepped_sessions(results)
    return results


def test_a_planted_step_is_found_where_it_is(stepped: Path) -> None:
    (series,) = histories_in(stepped)
    (change,) = series.changes
    assert abs(change.at - 25) <= 1
    assert change.factor == pytest.approx(1.05, abs=0.01)
    assert change.seen - change.at <= 10
    assert (change.standing, series.worse(change)) == ("to be confirmed", True)
    assert (series.control, series.source, series.machine) == (CONTROL, "sessions", "m")
    point = series.points[3]
    assert (point.commit, point.rounds, point.suite, point.plugins) == (commit(3), 12, "speed.toml", ("model.py",))
    assert point.low is not None
    assert point.high is not None
    assert point.low < point.ratio < point.high


def test_stored_values_of_identical_code_change_by_themselves(tmp_path: Path) -> None:
    """Control: the seconds of A, the same commit in every session of a machine that is busy now and then."""
    stepped_sessions(tmp_path, step=1.0)
    (series,) = histories_in(tmp_path)
    assert series.changes == []
    stored = [each.rounds["a"][0].metrics["step_cpu_s"] for each in read_sessions(tmp_path, pytest.fail)]
    points = [replace(point, ratio=float(value or 0)) for point, value in zip(series.points, stored, strict=True)]
    assert with_changes(replace(series, points=points)).changes != []


def test_machines_controls_and_cells_are_series_of_their_own(tmp_path: Path) -> None:
    write_session(tmp_path, 1, 1.0)
    write_session(tmp_path, 2, 1.0, machine="another")
    write_session(tmp_path, 3, 1.0, a="d" * 40)
    assert [len(series.points) for series in histories_in(tmp_path)] == [1, 1, 1]


def test_plugins_that_change_do_not_end_a_series(tmp_path: Path) -> None:
    for number in range(2):
        folder = write_session(tmp_path, number, 1.0, lasting_cells={f"cell{number}": "lasting"})
        for arm in ("a", "b", "null"):
            path = folder / f"{arm}.jsonl"
            path.write_text(path.read_text().replace('"cell":"cell"', f'"cell":"cell{number}"'))
    (series,) = histories_in(tmp_path)
    assert (series.cell, len(series.points)) == ("lasting", 2)


def test_counted_metrics_change_at_once(tmp_path: Path) -> None:
    for number in range(6):
        write_session(tmp_path, number, 1.0, peak=1000.0 if number < 4 else 1100.0)
    (series,) = histories_in(tmp_path, "peak_allocated_bytes")
    assert [(change.at, change.seen, round(change.factor, 6)) for change in series.changes] == [(4, 4, 1.1)]
    assert histories_in(tmp_path)[0].changes == [], "what is timed needs more versions"


def test_runs_are_held_against_their_baseline_cell(tmp_path: Path) -> None:
    for number in range(30):
        write_run(tmp_path, number, 0.6 if number < 20 else 0.66, rounds=3)
    (series,) = histories_in(tmp_path, "step_s")
    (change,) = series.changes
    assert abs(change.at - 20) <= 1
    assert change.factor == pytest.approx(1.1, abs=0.03)
    assert (series.source, series.control, series.label) == ("runs", "single", "gpt/nano ddp")
    assert series.points[0].suite == "suites/speed.toml"
    assert "step_cpu_s" in metrics_of([], [read_run(find_runs(tmp_path)[0])])


# order


def test_points_stand_in_the_order_of_their_commits() -> None:
    known = {commit(n): Commit(9 - n, f"2026-03-0{9 - n}", "why") for n in range(3)}
    measured = [Point(commit(n), "", f"2026-04-0{n + 1}", "", 1.0) for n in (0, 1, 2)]
    assert [each.commit for each in ordered(measured, known)] == [commit(2), commit(1), commit(0)]
    assert ordered(measured, known)[0].date == "2026-03-07"
    unknown = [*measured, Point("", "a folder", "2026-04-00", "", 1.0)]
    assert [each.date for each in ordered(unknown, known)] == ["2026-04-00", "2026-04-01", "2026-04-02", "2026-04-03"]


def test_commits_are_what_git_says(tmp_path: Path) -> None:
    from tests.ab_repository import made

    base, head = made(tmp_path / "repository")
    known = commits(tmp_path / "repository")
    assert known[base].order < known[head].order
    assert known[head].subject == "a commit"
    assert known[head].date[:2] == "20"
    assert commits(tmp_path) == {}


# what a session says of a change


@pytest.mark.parametrize(
    ("slower", "about", "standing"),
    [
        (1.06, {}, "regression"),
        (1.0, {}, "not confirmed"),
        (0.9, {}, "not confirmed"),
        (1.06, {"dirty": True}, "to be confirmed"),
        (1.06, {"machine": "another"}, "to be confirmed"),
    ],
)
def test_a_session_of_both_commits_decides(
    tmp_path: Path, slower: float, about: dict[str, object], standing: str
) -> None:
    stepped_sessions(tmp_path)
    before = histories_in(tmp_path)[0]
    a, b = (point.commit for point in before.sides(before.changes[0]))
    write_session(tmp_path, 99, slower, a=a, b=b, **about)  # type: ignore[arg-type]
    series = next(each for each in histories_in(tmp_path) if each.control == CONTROL)
    assert [change.standing for change in series.changes] == [standing]


def test_a_session_of_commits_a_little_apart_decides_as_well(tmp_path: Path) -> None:
    stepped_sessions(tmp_path, step=0.95)
    before = histories_in(tmp_path)[0]
    a, b = (point.commit for point in before.sides(before.changes[0], around=3))
    write_session(tmp_path, 99, 0.95, a=a, b=b)
    series = next(each for each in histories_in(tmp_path) if each.control == CONTROL)
    assert series.changes[0].standing == "improvement"


def test_what_cannot_be_asked_again_stays_open() -> None:
    points = [Point(commit(0), "", "", "", 1.0), Point(commit(1), "", "", "", 1.2, dirty=True)]
    series = with_changes(Series("peak_allocated_bytes", "c", "c", "m", "sessions", "", True, points))
    assert not series.askable(series.changes[0])


# what is not whole


def test_sessions_that_are_not_whole_are_left_out_and_named(tmp_path: Path) -> None:
    write_session(tmp_path, 0, 1.0)
    cut = write_session(tmp_path, 1, 1.0)
    told = json.loads((cut / "ab.json").read_text())
    (cut / "ab.json").write_text(json.dumps({key: value for key, value in told.items() if key != "ended_at"}))
    torn = write_session(tmp_path, 2, 1.0)
    (torn / "b.jsonl").write_text('{"cell": ')
    (write_session(tmp_path, 3, 1.0) / "ab.json").write_text("[1, 2")
    failed = write_session(tmp_path, 4, 1.0)
    (failed / "b.jsonl").write_text((failed / "b.jsonl").read_text().replace('"status":"OK"', '"status":"OOM"', 1))
    warnings: list[str] = []
    sessions = read_sessions(tmp_path, warnings.append)
    (series,) = histories("step_cpu_s", sessions, [], {}, warnings.append)
    assert len(series.points) == 1
    said = " | ".join(warnings)
    for text in ("the session was cut off", "b.jsonl:1", "ab.json: cannot be understood", "in B round 0 ended OOM"):
        assert text in said, said
