"""Runs in other programs' formats: opened by those programs, read back, and nothing made up."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.analyse.compare import compare
from harness.analyse.sides import of_run, read_side
from harness.cli import app
from harness.report.export_pytest_benchmark import statistics_of
from harness.report.exports import FORMATS, export
from harness.run.store import RunFolder
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError, UnknownName
from harness.schema.record import Record, Status
from tests.trials import a_record, a_run_info, a_trial

METRICS = {"step_cpu_s": 0.2, "samples_per_s": 160.0, "parameters": 10.0, "peak_allocated_bytes": 1000.0}


def records(slower: float = 1.0, rounds: int = 8) -> list[Record]:
    """Two cells, one of which failed once; and one that cannot run here."""
    found = []
    for strategy in ("ddp", "fsdp"):
        for repeat in range(rounds):
            moment = 1 + 0.1 * (repeat % 3) + 0.001 * slower * repeat
            metrics = METRICS | {"step_s": 0.1 * moment * slower, "step_cpu_s": 0.2 * moment * slower}
            found.append(a_record(a_trial(strategy=strategy, repeat=repeat), metrics=metrics))
    failed = {"status": Status.OOM, "reason": "no memory is left", "metrics": {}}
    found.append(a_record(a_trial(strategy="fsdp", repeat=rounds), **failed))
    found.append(a_record(a_trial(strategy="dp"), status=Status.UNSUPPORTED, reason="no CUDA", metrics={}))
    return found


def run_of(found: list[Record], session: str = "s") -> StoredRun:
    environment = {"cpu_model": "X", "python": "3.11.2 CPython", "cores": [0, 1], "torch": "2.13.0", "host": "here"}
    return StoredRun(Path("runs/here"), a_run_info(environment=environment, session=session), found)


def test_csv_has_a_row_per_trial_and_a_column_per_metric() -> None:
    rows = list(csv.DictReader(io.StringIO(export(run_of(records()), "csv"))))
    assert len(rows) == 18
    assert {name for name in rows[0] if name in METRICS} == set(METRICS)
    assert (float(rows[0]["step_s"]), rows[0]["workload"], rows[0]["status"]) == (0.1, "gpt", "OK")
    last = rows[-1]
    assert (last["status"], last["reason"], last["step_s"]) == ("UNSUPPORTED", "no CUDA", ""), "absent is never 0"


@pytest.mark.parametrize(
    ("name", "better"), [("", {"step_s", "step_cpu_s", "peak_allocated_bytes"}), ("-bigger", {"samples_per_s"})]
)
def test_github_action_benchmark_gets_metrics_by_their_better_way(name: str, better: set[str]) -> None:
    entries = json.loads(export(run_of(records()), f"github-action-benchmark{name}"))
    assert {entry["name"].split()[-1] for entry in entries} == better
    assert len({entry["name"] for entry in entries}) == len(entries) == 2 * len(better)
    assert all(isinstance(entry["value"], float) and entry["unit"] for entry in entries)
    (failed,) = {entry["extra"].split("\n")[0] for entry in entries if "fsdp" in entry["name"]}
    assert failed == "median of 8\u00a0rounds, 1 failed"


def test_pytest_benchmark_itself_opens_an_export(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(export(run_of(records()), "pytest-benchmark"))
    command = [
        sys.executable,
        "-m",
        "pytest_benchmark",
        "compare",
        str(path),
        "--columns=min,median,iqr,rounds,outliers,ops",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gpt/nano ddp fp32" in done.stdout
    assert "training step': 2 tests" in done.stdout


def test_statistics_are_those_of_pytest_benchmark() -> None:
    from pytest_benchmark.stats import Stats

    for data in ([0.3, 0.1, 0.2, 0.9], [0.3, 0.1, 0.2, 0.9, 0.25, 0.26, 0.27], [0.5]):
        theirs = Stats()
        theirs.data = list(data)
        ours = statistics_of(data)
        assert set(theirs.as_dict()) | {"data", "iterations"} == set(ours)
        for name in ("min", "max", "mean", "stddev", "rounds", "median", "total", "ops", "stddev_outliers"):
            assert ours[name] == pytest.approx(getattr(theirs, name)), name
        if len(data) % 2 == 0:
            for name in ("q1", "q3", "iqr", "iqr_outliers", "hd15iqr", "outliers"):
                assert ours[name] == pytest.approx(getattr(theirs, name)), name


def test_round_trip_keeps_rounds_pairs_failures_and_verdicts(tmp_path: Path) -> None:
    sides, direct = [], []
    for name, slower in (("a", 1.0), ("b", 1.06)):
        run = run_of(records(slower))
        (tmp_path / f"{name}.json").write_text(export(run, "pytest-benchmark"))
        sides.append(read_side(tmp_path / f"{name}.json")[0])
        direct.append(of_run(run))
    back = {(item.cell, item.round.removeprefix(f"{item.cell} "), item.status) for item in sides[0]}
    assert back == {(item.label, item.round, item.status) for item in direct[0]}
    read, straight = ({(e.metric, e.verdict): e for e in compare(*each) if e.p} for each in (sides, direct))
    assert [(e.verdict, e.effect) for e in read.values()] == [(e.verdict, e.effect) for e in straight.values()]
    assert ("round_cpu_s", "regressed") in read
    assert {e.verdict for e in compare(*sides) if not e.metric} == {"not comparable"}, "rounds that failed are not lost"


@pytest.mark.parametrize("name", list(FORMATS))
def test_what_has_no_figures_gives_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="nothing to export"):
        export(run_of([]), name)
    failed = run_of([each for each in records() if each.status is not Status.OK])
    if name == "csv":
        assert len(export(failed, name).splitlines()) == 3, "failures are rows"
    else:
        with pytest.raises(HarnessError, match="no trial ended well"):
            export(failed, name)


def test_the_command(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_run_info())
    for record in records():
        folder.append(record, None)
    output = tmp_path / "out" / "run.csv"
    done = CliRunner().invoke(app, ["export", str(folder.folder), "--format", "csv", "-o", str(output)])
    assert (done.exit_code, done.stdout) == (0, "")
    shown = CliRunner().invoke(app, ["export", str(folder.folder), "--format", "csv"])
    assert shown.stdout == output.read_text()
    wrong = CliRunner().invoke(app, ["export", str(folder.folder), "--format", "cvs"])
    assert isinstance(wrong.exception, UnknownName)
    assert "did you mean 'csv'" in str(wrong.exception)
