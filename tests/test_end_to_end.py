"""The command as a person or a CI job uses it: in processes of its own, interrupted, killed, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.run.stored import find_runs, read_run
from harness.schema.record import Status
from tests.conftest import PLUGINS

pytestmark = pytest.mark.processes

SUITE = """
question = "Is two better than one?"
baseline = {{ strategy = "single" }}
[fixed]
workload = {workload}
size = "only"
steps = {steps}
warmup_steps = 5
devices = 2
[grid]
strategy = ["single", "ddp"]
[budget]
repeats = {repeats}
"""

Marked = dict[str, str]


@contextmanager
def marking() -> Iterator[Marked]:
    """An environment whose mark every descendant inherits; none may be left at the end."""
    environment = {**os.environ, "HARNESS_TEST_MARK": uuid.uuid4().hex, "CI": "1"}
    yield environment
    assert gone(environment["HARNESS_TEST_MARK"]), "processes were left behind"


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Of one test."""
    with marking() as environment:
        yield environment


@dataclass(frozen=True)
class Finished:
    """A run that came to its end, for tests that look at it or begin with one. Its results are left as they are."""

    results: Path
    page: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    page = folder / "page.html"
    with marking() as environment:
        command = arguments(suite_file(folder), f"--report={page}")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Finished(folder / "results", page, done)


def alive(mark: str) -> list[int]:
    """Processes, zombies left out, that carry the mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def gone(mark: str, within_s: float = 20.0) -> bool:
    """Whether all marked processes end by themselves."""
    until = time.monotonic() + within_s
    while alive(mark):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def suite_file(folder: Path, workload: str = '"tiny"', steps: int = 5, repeats: int = 1) -> Path:
    path = folder / "suite.toml"
    path.write_text(SUITE.format(workload=workload, steps=steps, repeats=repeats))
    return path


def arguments(suite: Path, *more: str) -> list[str]:
    plugins = [f"--plugin={PLUGINS / name}.py" for name in ("tiny", "faults")]
    return [
        sys.executable,
        "-m",
        "harness.cli",
        "run",
        str(suite),
        f"--results={suite.parent / 'results'}",
        *plugins,
        *more,
    ]


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate(timeout=120)


def started(suite: Path, environment: Marked, until: str = "done ") -> subprocess.Popen[str]:
    """Start the command and wait until it has said so much on stderr, and then begun another trial."""
    process = subprocess.Popen(
        arguments(suite),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = False
    for line in process.stderr:
        said = said or until in line
        if said and "start " in line:
            return process
    raise AssertionError(f"ended without {until!r}")


def test_run_measures_writes_a_page_and_names_its_folder_last(finished: Finished) -> None:
    folder = Path(finished.done.stdout.strip().splitlines()[-1])
    run = read_run(folder)
    assert [record.status for record in run.records] == [Status.OK, Status.OK]
    assert all(record.parity and record.parity.status == "passed" for record in run.records)
    for record in run.records:
        assert record.metrics["predicted_peak_bytes"] == pytest.approx(record.metrics["peak_allocated_bytes"], rel=0.1)
    assert run.info.ended_at
    assert run.info.parent_cpu_s
    assert set(run.series) >= {record.trial.id for record in run.records}
    assert "Is two better than one?" in finished.page.read_text()
    assert "\x1b" not in finished.done.stderr, "no animation outside a terminal"
    assert "FAILED" not in finished.done.stderr


def test_parent_never_loads_torch(tmp_path: Path, marked: Marked) -> None:
    suite = suite_file(tmp_path)
    code = (
        "import sys; sys.argv = sys.argv[1:]\n"
        "from harness import cli\n"
        "try:\n    cli.main()\n"
        "except SystemExit as end:\n    print('exit', end.code)\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments(suite)[2:]]
    command[3] = "harness"
    done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().splitlines()[-1] == "False", done.stdout + done.stderr


def test_interrupt_keeps_what_is_done_and_resume_does_the_rest(tmp_path: Path, marked: Marked) -> None:
    suite = suite_file(tmp_path, '{ name = "sleeper", seconds = 0.01 }', steps=30, repeats=2)
    process = started(suite, marked)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group gets it
    _out, said = ended(process)
    assert process.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said
    first = read_run(find_runs(tmp_path / "results")[0])
    statuses = [record.status for record in first.records]
    assert statuses[-1] is Status.INTERRUPTED
    kept = statuses.count(Status.OK)
    assert 1 <= kept < 4
    assert not first.warnings
    again = subprocess.run(arguments(suite, "--resume"), env=marked, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    second = read_run(find_runs(tmp_path / "results")[1])
    assert [record.status for record in second.records] == [Status.OK] * 4
    assert sum(record.resumed_from is not None for record in second.records) == kept


def test_resume_does_not_take_a_changed_suite_for_the_same(tmp_path: Path, marked: Marked, finished: Finished) -> None:
    shutil.copytree(finished.results, tmp_path / "results")
    command = arguments(suite_file(tmp_path, steps=6), "--resume")
    done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, last = (read_run(folder) for folder in find_runs(tmp_path / "results"))
    assert len(first.records) == len(last.records) == 2
    assert all(record.resumed_from is None for record in last.records)


def test_kill_of_the_parent_leaves_whole_records_and_no_process(tmp_path: Path, marked: Marked) -> None:
    suite = suite_file(tmp_path, '{ name = "sleeper", seconds = 0.01 }', steps=30, repeats=3)
    process = started(suite, marked)
    process.kill()
    ended(process)
    assert gone(marked["HARNESS_TEST_MARK"])
    run = read_run(find_runs(tmp_path / "results")[0])
    assert run.records[0].status is Status.OK
    assert run.info.ended_at is None, "the page must be able to say that the run was cut off"
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "harness.cli", "report", str(run.folder), "-o", str(page)]
    made = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    assert page.stat().st_size > 10_000


def test_nothing_measured_is_exit_2(tmp_path: Path, marked: Marked) -> None:
    suite = suite_file(tmp_path)
    text = suite.read_text().replace('["single", "ddp"]', '[{ name = "ends_badly", how = "raise" }]')
    suite.write_text(text.replace('{ strategy = "single" }', '{ precision = "fp32" }'))
    done = subprocess.run(arguments(suite), env=marked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "nothing was measured" in done.stderr
    assert "FAILED CRASHED" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_rerun_repeats_a_stored_trial(marked: Marked, finished: Finished) -> None:
    record = read_run(find_runs(finished.results)[0]).records[0]
    stored = f"--results={finished.results}"
    command = [sys.executable, "-m", "harness.cli", "rerun", record.trial.id, stored, "--json"]
    done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = {row["metric"]: row for row in json.loads(done.stdout)}
    assert rows["status"]["again"] == "OK"
    assert float(rows["loss"]["ratio"]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("devices = 2", "devices = 4096"), "devices"),
        (('"ddp"', '"sinle"'), "did you mean 'single'"),
        (("steps = 5", 'steps = "many"'), "fixed.steps"),
        (("size = ", "sise = "), "did you mean 'size'"),
        (("devices = 2", "devices = 2\nglobal_batch = 6"), "divide"),
    ],
)
def test_wrong_suite_starts_and_writes_nothing(
    tmp_path: Path, marked: Marked, change: tuple[str, str], said: str
) -> None:
    suite = suite_file(tmp_path)
    suite.write_text(suite.read_text().replace(*change))
    done = subprocess.run(arguments(suite), env=marked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_said_before_anything_starts(tmp_path: Path, marked: Marked) -> None:
    (tmp_path / "results").write_text("a file, not a folder")
    done = subprocess.run(arguments(suite_file(tmp_path)), env=marked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "results" in done.stderr
    assert "Traceback" not in done.stderr
    assert "done " not in done.stderr
