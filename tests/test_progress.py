"""What a running trial tells, what is made of it in a line, and the time that is said to be left."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from harness.machine.inventory import Inventory
from harness.measure import progress
from harness.measure.progress import POINTS, Progress, Told, progress_path, told
from harness.report.running import clock_text, running_line, sparkline
from harness.run.conduct import Event
from harness.run.executors import local
from harness.run.plan import TRIAL_S, Plan, estimate_s, make_plan, reference_trial
from harness.run.remaining import Remaining
from harness.schema.record import Phase
from harness.schema.suite import Suite
from harness.schema.trial import Trial
from tests.conftest import make_trial

# The slot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves when it is told to."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_what_is_told_is_read(tmp_path: Path, clock: list[float]) -> None:
    telling = Progress(progress_path(tmp_path), window=30, read=float)
    assert told(tmp_path) is None, "nothing was told yet"
    telling.begin(Phase.WARMUP)
    telling.go_on()
    clock[0] = 1.0
    telling.step(4, 2.5)
    assert told(tmp_path) == Told(Phase.WARMUP, 4, 30, 0, 4.0, ((4.0, 2.5),))
    telling.know([3.0, None, 2.0, math.inf, 1.5])
    telling.begin(Phase.TIMED)
    clock[0] = 2.0
    telling.step(9, 1.5)
    clock[0] = 100.0  # an evaluation
    telling.go_on()
    clock[0] = 101.0
    telling.step(13, 1.0)
    assert told(tmp_path) == Told(
        Phase.TIMED, 13, 30, 5, 4.0, ((1.0, 3.0), (3.0, 2.0), (5.0, 1.5), (9.0, 1.5), (13.0, 1.0))
    )  # fmt: skip


def test_steps_in_quick_succession_are_told_together(tmp_path: Path, clock: list[float]) -> None:
    """And a loss is looked at only then: to have it may cost something."""
    looked: list[object] = []

    def read(loss: object) -> float:
        looked.append(loss)
        return math.nan

    telling = Progress(progress_path(tmp_path), window=1000, read=read)
    telling.begin(Phase.TIMED)
    for step in range(1, 1001):
        clock[0] += 0.001
        telling.step(step, "a tensor")
    assert len(looked) in (3, 4)
    found = told(tmp_path)
    assert found is not None
    assert found.steps >= 750
    assert found.losses == (), "what cannot be had is not told"
    assert found.steps_per_s == pytest.approx(1000, rel=0.01)


def test_a_long_curve_keeps_its_beginning_and_its_end(tmp_path: Path, clock: list[float]) -> None:
    telling = Progress(progress_path(tmp_path), window=10_000, read=float)
    telling.begin(Phase.TIMED)
    for step in range(1, 5001):
        clock[0] += 1.0
        telling.step(step, float(step))
        if step == 2500:
            telling.know([float(number) for number in range(1, 2501)])
    found = told(tmp_path)
    assert found is not None
    assert POINTS // 2 <= len(found.losses) <= POINTS
    assert found.losses[-1] == (5000.0, 5000.0)
    assert found.losses[0][0] < 500


def test_half_a_write_is_not_believed(tmp_path: Path) -> None:
    telling = Progress(progress_path(tmp_path), window=30)
    telling.begin(Phase.TIMED)
    whole = progress_path(tmp_path).read_bytes()
    assert told(tmp_path) is not None
    progress_path(tmp_path).write_bytes(whole[:-4] + b"\xff\xff\xff\xff")
    assert told(tmp_path) is None
    progress_path(tmp_path).write_bytes(whole[:50])
    assert told(tmp_path) is None
    progress_path(tmp_path).unlink()
    assert told(tmp_path) is None


def test_where_it_cannot_be_told_nothing_fails(tmp_path: Path) -> None:
    telling = Progress(tmp_path / "missing" / "progress", window=30, read=float)
    telling.begin(Phase.TIMED)
    telling.know([1.0])
    assert told(tmp_path / "missing") is None


@pytest.mark.processes
def test_a_real_trial_tells_of_all_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.shutil, "rmtree", lambda *_arguments, **_options: None)  # what was told stays
    asked, folders = make_trial("ddp", 2, steps=12, warmup_steps=6, eval_every=0), []
    local.execute(asked, [0, 1], watch=lambda trial, folder: folders.append((trial, folder)))
    ((trial, folder),) = folders
    found = told(folder)
    assert trial is asked
    assert found is not None
    assert (found.phase, found.steps, found.first, found.window) == (Phase.EXTRA, 18, 6, 12)
    assert [step for step, _loss in found.losses] == list(range(1, 19))


# The line


def a_told(**changes: object) -> Told:
    losses = tuple((float(step), 4.0 / step) for step in range(1, 20))
    return Told(**{"phase": Phase.TIMED, "steps": 28, "window": 30, "first": 11, "steps_per_s": 40.0, "losses": losses}
                | changes)  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100, 160])
@pytest.mark.parametrize("label", ["single", "fsdp(reshard_after_forward=false, 長い名前=true, units=every_block)"])
def test_the_line_fits_any_width_and_keeps_the_time(width: int, label: str) -> None:
    from tests.synthetic_run import Shape, trial_of

    trial = trial_of(Shape(), "gpt", label, "fp32", 1)
    for each in (a_told(), a_told(losses=()), a_told(phase=Phase.WARMUP, steps_per_s=math.nan), None):
        line = running_line(width, 12, 66, trial, each, 83.0, 260.0)
        assert cell_len(line) <= width, line
        assert "1:23"[: max(0, width)] in line


def test_a_wide_line_has_everything_and_a_narrow_one_what_matters() -> None:
    wide = running_line(160, 12, 66, make_trial(), a_told(), 83.0, 260.0)
    for part in ("12/66", "tiny/only single fp32 round 1", "step 17 of 30", "640 samples/s", "loss 0.211", "█", "▁",
                 "1:23, about 4:20 left"):  # fmt: skip
        assert part in wide
    narrow = running_line(60, 12, 66, make_trial(), a_told(), 83.0, 260.0)
    assert "█" not in narrow
    assert "about 4:20 left" in narrow
    assert "starting" in running_line(100, 1, 2, make_trial(), None, 0.0, None)
    assert "warm-up 7" in running_line(100, 1, 2, make_trial(), a_told(phase=Phase.WARMUP, steps=7), 0.0, None)
    assert "reference tiny/only" in running_line(100, 1, 2, reference_trial(make_trial()), None, 0.0, None)


def test_a_curve_falls_as_the_loss_does() -> None:
    assert sparkline([(1.0, 2.0), (2.0, 1.0)]) == "█▁"
    assert sparkline([(float(step), -float(step)) for step in range(8)], 8) == "█▇▆▅▄▃▂▁"
    assert sparkline([(1.0, 2.0), (2.0, 2.0)]) == "▁▁"
    assert sparkline([(1.0, 2.0)]) == ""
    assert len(sparkline([(float(step), step % 7) for step in range(1000)])) == 16


def test_clocks() -> None:
    assert [clock_text(seconds) for seconds in (0, 42.9, 725, 3729)] == ["0:00", "0:42", "12:05", "1:02:09"]


# The time left


def a_plan(repeats: int = 3) -> Plan:
    suite = {"question": "?", "baseline": {"strategy": "single"}, "fixed": {"workload": "gpt", "size": "nano"},
             "grid": {"strategy": ["single", "ddp"]}, "budget": {"repeats": repeats}}  # fmt: skip
    return make_plan(Suite.model_validate(suite), Inventory(cores=[0, 1]))


def finished(trial: Trial, kind: str = "finished") -> Event:
    return Event(kind, trial, 0, 0)  # type: ignore[arg-type]


def test_at_the_start_it_is_what_the_plan_says() -> None:
    plan = a_plan()
    for past in ({}, {plan.trials[0].cell: 20.0}):
        assert Remaining(plan, past).left_s(0.0) == pytest.approx(estimate_s(plan, past)[0])


def test_it_goes_by_what_was_measured_and_ends_at_nothing() -> None:
    plan = a_plan()
    remaining, now = Remaining(plan, {}), 100.0
    remaining.observe(finished(reference_trial(plan.trials[0]), "reference"), now)
    left = []
    for trial in plan.trials:
        remaining.observe(finished(trial, "started"), now)
        now += 2.0
        remaining.observe(finished(trial), now)
        left.append(remaining.left_s(now))
    assert left == pytest.approx([2.0 * number for number in range(5, -1, -1)])


def test_it_runs_down_within_a_trial_but_not_beyond_it() -> None:
    plan = a_plan(repeats=1)
    remaining = Remaining(plan, {trial.cell: 10.0 for trial in plan.trials})
    remaining.observe(finished(reference_trial(plan.trials[0]), "reference"), 50.0)
    remaining.observe(finished(plan.trials[0], "started"), 50.0)
    assert [remaining.left_s(50.0 + passed) for passed in (0.0, 4.0, 10.0, 300.0)] == [20.0, 16.0, 10.0, 10.0]


def test_trials_that_are_kept_take_no_time_and_teach_none() -> None:
    plan = a_plan()
    remaining = Remaining(plan, {})
    for trial in plan.trials[:-1]:
        remaining.observe(finished(trial, "kept"), time.monotonic())
    assert remaining.left_s(time.monotonic()) == pytest.approx(2 * TRIAL_S)  # the last one and its reference
