"""The plug-in for pytest, in sessions of pytest of their own: off unless asked for, CPU seconds, anchors, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.machine.inventory import Inventory
from harness.measure.anchor import Seconds, arithmetic, small_step
from harness.pytest_plugin import session as loaded_once
from harness.pytest_plugin.clock import Clock
from harness.pytest_plugin.verdicts import Saved
from harness.run.executors import local

pytest_plugins = ("pytester",)

BENCHMARKS = """
import json, os
from pathlib import Path
from harness.measure.anchor import Round, Seconds

FACTOR = float(os.environ.get("SLOWER", "1"))


def test_in_this_process(benchmark):
    benchmark.pedantic(lambda: sum(range(1000)), rounds=5)


def test_elsewhere(fresh_rounds):
    rounds = iter(range(1000))

    def one_round():
        moment = 1 + 0.01 * (next(rounds) % 3)
        work = Seconds(0.5 * moment * FACTOR, 0.25 * moment * FACTOR)
        return Round(work, Seconds(0.1 * moment * 1.001, 0.1 * moment))

    fresh_rounds(one_round)
"""
KEY = "0123456789ab"
Session = Callable[..., pytest.RunResult]


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Runs pytest on the benchmarks above; the machine is one that need not be looked at."""
    inventory = Inventory(machine_key=KEY, environment={"cores": [0, 1], "torch": "2.13.0", "cpu_model": "X"})
    monkeypatch.setattr(local, "probe", lambda: inventory)
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    assert loaded_once, "sessions in this process share what is loaded: NumPy refuses to be loaded twice"
    pytester.makepyfile(test_benchmarks=BENCHMARKS)
    others = ("cacheprovider", "playwright", "hypothesispytest", "anyio", "timeout")
    quiet = [f"-pno:{name}" for name in others]
    return lambda *options: pytester.runpytest_inprocess("-pharness.pytest_plugin", *quiet, *options)


def saved(path: Path) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(path.read_text())["benchmarks"]}


def test_it_does_nothing_unless_asked(session: Session, pytester: pytest.Pytester) -> None:
    done = session("--benchmark-json=out.json", "-k", "in_this_process")
    done.assert_outcomes(passed=1, deselected=1)
    content = json.loads((pytester.path / "out.json").read_text())
    assert "harness" not in content["machine_info"]
    assert content["benchmarks"][0]["extra_info"] == {}
    failed = session("-k", "elsewhere")
    failed.stdout.fnmatch_lines(["*fresh_rounds: expected pytest with --harness-benchmarks*"])


def test_files_get_cpu_seconds_anchor_and_machine(session: Session, pytester: pytest.Pytester) -> None:
    session("--harness-benchmarks", "--benchmark-json=out.json").assert_outcomes(passed=2)
    info = json.loads((pytester.path / "out.json").read_text())["machine_info"]["harness"]
    assert (info["machine_key"], info["device"], info["cores"], info["torch"]) == (KEY, "cpu", 2, "2.13.0")
    found = saved(pytester.path / "out.json")
    here, there = found["test_in_this_process"], found["test_elsewhere"]
    told = here["extra_info"]["harness"]
    assert not told["fresh"]
    assert 0 < told["cpu_s"][0] < 1
    assert told["anchor_s"][0] > 0
    told = there["extra_info"]["harness"]
    assert (told["fresh"], len(told["cpu_s"]), told["cpu_s"][1]) == (True, 8, 0.25 * 1.01)
    assert there["stats"]["data"][1] == pytest.approx(0.5 * 1.01), "the seconds of the workers, not of who waits"


def test_runs_are_saved_by_machine_and_compared_by_name(
    session: Session, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    session("--harness-benchmarks", "--benchmark-save=before").assert_outcomes(passed=2)
    (kept,) = (pytester.path / "results" / "benchmarks" / KEY).glob("*/0001_before.json")
    assert len(saved(kept)["test_elsewhere"]["stats"]["data"]) == 8, "rounds are saved too"
    alike = session("--harness-compare=before")
    assert alike.ret == 0
    alike.stdout.fnmatch_lines(["*No difference is shown: 2 same; 2 undecided.*", "gate: nothing is worse*"])
    monkeypatch.setenv("SLOWER", "1.2")
    slower = session("--harness-compare=before")
    assert slower.ret == 1
    slower.assert_outcomes(passed=2)
    slower.stdout.fnmatch_lines(
        ["*Regressed: test_benchmarks.py::test_elsewhere round_cpu_s*", "gate: something is worse*"]
    )


def test_saved_runs_are_found_by_number_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Saved(KEY).folder / "Linux-CPython-3.11-64bit"
    folder.mkdir(parents=True)
    for name in ("0001_before", "0002_before", "0003_after", "0010_1"):
        (folder / f"{name}.json").touch()
    found = {
        asked: [file.stem for file in Saved(KEY).named(asked)] for asked in ("1", "2", "0003", "before", "aft", "10")
    }
    assert found == {
        "1": ["0010_1"],
        "2": ["0002_before"],
        "0003": ["0003_after"],
        "before": ["0001_before", "0002_before"],
        "aft": [],
        "10": ["0010_1"],
    }
    assert Saved("another machine").named("before") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("befor", "*found 'befor', expected a file or folder, or the number or name of a saved run*"),
        ("x.json", "*x.json: *"),
    ],
)
def test_what_cannot_be_compared_with_ends_pytest_before_anything_runs(
    session: Session, pytester: pytest.Pytester, asked: str, said: str
) -> None:
    (pytester.path / "x.json").write_text('{"benchmarks": []}')
    done = session(f"--harness-compare={asked}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert "passed" not in done.stdout.str()


def test_nothing_in_common_is_no_pass(session: Session, pytester: pytest.Pytester) -> None:
    session("--harness-benchmarks", "--benchmark-json=out.json", "-k", "this_process")
    assert session("--harness-compare=out.json", "-k", "elsewhere").ret == 2


def test_a_failed_test_stays_a_failed_test(session: Session, pytester: pytest.Pytester) -> None:
    session("--harness-benchmarks", "--benchmark-json=out.json")
    pytester.makepyfile(test_broken="def test_broken(benchmark):\n    benchmark(lambda: 1 / 0)\n")
    done = session("--harness-compare=out.json")
    assert done.ret == 1
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["gate: *"])


def test_a_timer_of_its_own_is_left_alone(session: Session, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_timed="""
        import time, pytest

        @pytest.mark.benchmark(group="mine", timer=time.process_time)
        def test_timed(benchmark):
            benchmark.pedantic(lambda: None, rounds=3)

        @pytest.mark.benchmark(group="mine")
        def test_grouped(benchmark):
            benchmark.pedantic(lambda: None, rounds=3)
        """
    )
    session("--harness-benchmarks", "--benchmark-json=out.json", "-k", "timed or grouped").assert_outcomes(
        passed=2, deselected=2
    )
    found = saved(pytester.path / "out.json")
    assert found["test_timed"]["extra_info"]["harness"]["cpu_s"] == []
    assert {each["group"] for each in found.values()} == {"mine"}, "what a benchmark says of itself is kept"
    assert "Clock" in found["test_grouped"]["options"]["timer"]


# the clock


def test_the_clock_pairs_the_last_readings_with_rounds() -> None:
    clock = Clock()
    for _ in range(7):  # calibration: any number of readings
        clock()
    arithmetic()
    for _ in range(3):
        clock()
        arithmetic()
        clock()
    each = clock.cpu_s(3, 1)
    assert each is not None
    assert clock.cpu_s(3, 10) == pytest.approx(each / 10)
    assert clock.cpu_s(7, 1) is None, "more rounds than this clock has seen"


def test_a_clock_that_is_told_stands_still_between() -> None:
    clock = Clock()
    clock.stop()
    before = clock()
    arithmetic()
    assert clock() == before
    clock.tell(Seconds(0.5, 0.1))
    assert clock() == before + 0.5


def test_the_anchor_is_what_it_was() -> None:
    """Sessions of before would be held against something else: a change here makes all saved runs worthless."""
    assert arithmetic() == pytest.approx(115152.8800719386, rel=1e-9)
    step = small_step()
    assert [float(step()) for _ in range(2)] == pytest.approx([32167.172, 32165.031], rel=1e-5)
