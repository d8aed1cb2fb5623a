"""Files of pytest-benchmark as sides: rounds, anchors, machines; what is no such file gets a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import PercentageRegressionCheck

from harness.analyse.compare import Judgement, compare
from harness.analyse.pytest_benchmark import ANCHOR, rounds_of
from harness.analyse.sides import read_side
from harness.schema.errors import InputError
from tests.benchmark_files import a_benchmark, a_file
from tests.test_compare import said

CELL = "b.py::bench[ddp]"


def judged(a: dict[str, Any], b: dict[str, Any]) -> list[Judgement]:
    return compare(rounds_of({"a.json": a})[0], rounds_of({"b.json": b})[0])


def sessions(slower: float, machine: float, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two files of two sessions: in the second the machine is slower, and the code perhaps too."""
    return (
        a_file(a_benchmark(seed=1, **changes)),
        a_file(a_benchmark(seed=2, slower=slower, machine=machine, **changes)),
    )


# verdicts


def test_ten_percent_are_found_through_the_anchor_and_identical_code_is_not() -> None:
    for machine in (0.7, 1.0, 1.5):
        assert said(judged(*sessions(1.10, machine)), "round_cpu_s", CELL).verdict == "regressed"
        assert said(judged(*sessions(0.85, machine)), "round_cpu_s", CELL).verdict == "improved"
        identical = judged(*sessions(1.0, machine))
        assert [each.verdict for each in identical] == ["same", "same"]


def test_identical_code_of_forty_pairs_of_sessions_is_not_flagged() -> None:
    """Control: pytest-benchmark's own threshold on the same files flags most, as the machine was slower."""
    flagged = crossed = 0
    for seed in range(40):
        one = a_file(a_benchmark(seed=2 * seed))
        other = a_file(a_benchmark(seed=2 * seed + 1, machine=1.1))
        flagged += any(each.verdict in ("regressed", "improved") for each in judged(one, other))
        now, before = (file["benchmarks"][0]["stats"] for file in (other, one))
        crossed += PercentageRegressionCheck("mean", 5).fails(now, before) is not None
    assert flagged == 0
    assert crossed > 20


def test_without_an_anchor_nothing_is_said() -> None:
    found = said(judged(*sessions(1.5, 1.0, anchored=False)), "round_cpu_s", CELL)
    assert found.verdict == "undecided"
    assert "stored times of identical code differ" in found.reason


def test_a_benchmark_may_say_that_it_is_the_anchor_of_its_file() -> None:
    """One time for the whole file: what it does to the rounds is not known, so theirs are as far apart as they are."""

    def file(seed: int, slower: float, machine: float) -> dict[str, Any]:
        anchor = a_benchmark("b.py::bench_anchor", seed=seed, machine=machine, anchored=False, rounds=100)
        anchor["extra_info"]["anchor"] = True
        return a_file(anchor, a_benchmark(seed=seed, slower=slower, machine=machine, anchored=False, rounds=30))

    assert said(judged(file(1, 1.0, 1.0), file(2, 1.5, 1.5)), "round_cpu_s", CELL).verdict == "regressed"
    assert said(judged(file(1, 1.0, 1.0), file(2, 1.0, 1.5)), "round_cpu_s", CELL).verdict != "regressed"


def test_rounds_of_one_process_are_one_round() -> None:
    one, other = sessions(2.0, 1.0, fresh=False, rounds=50)
    found = said(judged(one, other), "round_cpu_s", CELL)
    assert (found.verdict, found.reason) == ("undecided", "1\u00a0round: a verdict needs 6")
    measured, (warning,) = rounds_of({"a.json": one})
    assert [item.cell for item in measured] == [CELL, ANCHOR]
    assert "all rounds of b.py::bench[ddp] are of one process" in warning


def test_a_folder_of_files_is_a_side_with_a_round_per_process(tmp_path: Path) -> None:
    for side, slower, machine in (("before", 1.0, 1.0), ("after", 1.2, 0.8)):
        folder = tmp_path / side / "Linux-CPython-3.11-64bit"
        folder.mkdir(parents=True)
        for number in range(8):
            seed = number + 100 * (side == "after")
            content = a_file(a_benchmark(fresh=False, rounds=50, slower=slower, machine=machine, seed=seed))
            (folder / f"{number:04}_x.json").write_text(json.dumps(content))
    sides = [read_side(tmp_path / side) for side in ("before", "after")]
    assert [warnings for _side, warnings in sides] == [[], []]
    found = said(compare(sides[0][0], sides[1][0]), "round_cpu_s", CELL)
    assert (found.verdict, found.rounds) == ("regressed", 8)
    assert {item.round for item in sides[0][0]} == {f"{number:04}_x {CELL} 1" for number in range(8)}


def test_a_file_against_itself_is_the_same() -> None:
    assert {each.verdict for each in judged(a_file(), a_file())} == {"same"}


# machines


def test_other_machines_are_not_compared() -> None:
    foreign = a_file(key=None)
    for one, other in ((a_file(key="m"), a_file(key="n")), (a_file(), foreign)):
        assert {each.verdict for each in judged(one, other)} == {"not comparable"}
    warmer = a_file(key=None)
    warmer["machine_info"]["cpu"]["hz_actual_friendly"] = "3.0 GHz"
    assert {each.verdict for each in judged(foreign, warmer)} == {"same"}
    newer = a_file(key=None)
    newer["machine_info"]["cpu"]["brand_raw"] = "Y"
    assert "cpu brand_raw X against Y" in judged(foreign, newer)[0].reason


def test_a_folder_is_of_one_machine() -> None:
    with pytest.raises(InputError, match=r"expected the machine of a\.json"):
        rounds_of({"a.json": a_file(key="m"), "b.json": a_file(key="n")}, "together")


# what is no such file


def broken(where: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """A file of which one place is something else; `...` leaves it out."""
    content: Any = json.loads(json.dumps(a_file()))
    place = content
    for key in where[:-1]:
        place = place[key]
    if value is ...:
        del place[where[-1]]
    else:
        place[where[-1]] = value
    return content  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": 1, "b": 2}, "found 'an object of a, b', expected a run folder, a file of measured rounds"),
        ([1, 2], "found 'a list', expected a run folder"),
        ({}, "found 'an object of nothing'"),
        (broken(("benchmarks",), []), "benchmarks: found [], expected at least one: nothing was measured"),
        (broken(("machine_info",), ...), "machine_info: expected a file of pytest-benchmark, which has it"),
        (broken(("machine_info",), {}), "machine_info: found {}, expected at least one"),
        (broken(("version",), "9.1"), "version: found '9.1', expected a file of pytest-benchmark 3 to 5"),
        (broken(("benchmarks", 0, "stats", "data"), ...), "--benchmark-save-data"),
        (broken(("benchmarks", 0, "stats", "data"), ["fast"]), "benchmarks.0.stats.data.0: found 'fast'"),
        (broken(("benchmarks", 0, "fullname"), ...), "benchmarks.0.fullname: expected"),
        (broken(("benchmarks", 0, "extra_info", "harness", "cpu_s"), [1.0]), "found '1 values', expected 8, one per"),
        (broken(("benchmarks", 0, "extra_info", "harness", "news"), 1), "extra_info.harness: news: found 1"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, content: object, expected: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        read_side(path)
    assert expected in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_folder_with_something_else_among_its_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(a_file()))
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.json: expected a file of pytest-benchmark, as its neighbours"):
        read_side(tmp_path)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "is 0: no s is that"), (float("nan"), "is nan: no number"), (None, "is None: no number")]
)
@pytest.mark.parametrize("fresh", [True, False])
def test_values_that_no_clock_shows_are_never_judged(value: float | None, shown: str, fresh: bool) -> None:
    """Also where many rounds of one process would have hidden it in their median."""
    bad = a_file(a_benchmark(fresh=fresh))
    bad["benchmarks"][0]["stats"]["data"][3] = value
    found = said(judged(a_file(a_benchmark(fresh=fresh, seed=5)), bad), "round_s", CELL)
    assert found.verdict == "not comparable"
    assert shown in found.reason


def test_rounds_that_failed_are_no_luck() -> None:
    bad = a_file()
    bad["benchmarks"][0]["extra_info"]["harness"]["failed"] = {"9": "OOM: no memory is left"}
    (found,) = [each for each in judged(a_file(), bad) if each.cell == CELL]
    assert (found.metric, found.verdict) == ("status", "regressed")
    assert "9 OOM (no memory is left)" in found.reason
