"""Stored baselines: written by command alone after the difference was shown, and read as a side by compare and gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.analyse.baselines import baseline_of, difference, path_of, stored, text_of
from harness.analyse.compare import compare
from harness.analyse.sides import read_side
from harness.cli import app
from harness.run.store import RunFolder
from harness.run.stored import read_run
from harness.schema.errors import HarnessError, InputError
from harness.schema.measured import Measured
from harness.schema.record import Status
from tests.histories import write_run
from tests.test_compare import side
from tests.trials import a_record, a_run_info, a_trial


def typed(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def updated(results: Path, run: Path, *more: str) -> Result:
    return typed("baseline", "update", run, "--results", results, "--yes", *more)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, 0, 0.6)


def test_a_run_becomes_the_baseline_of_its_suite_and_machine(tmp_path: Path, run: Path) -> None:
    done = updated(tmp_path, run)
    path = tmp_path / "baselines" / "machine-a" / "speed.jsonl"
    assert done.stdout.splitlines()[-1] == str(path)
    kept = stored(path)
    assert [item.round for item in kept] == 2 * [f"seed 0, repeat {number}" for number in range(6)]
    assert {item.anchor for item in kept} == {True, False}
    assert {name for item in kept for name in item.metrics} == {"step_s", "step_cpu_s"}
    assert all('"schema":' in line for line in path.read_text().splitlines())


def test_what_changes_is_shown_before_it_is_written(tmp_path: Path, run: Path) -> None:
    updated(tmp_path, run)
    path = tmp_path / "baselines" / "machine-a" / "speed.jsonl"
    before = path.read_text()
    slower = write_run(tmp_path, 1, 0.9)
    asked = typed("baseline", "update", slower, "--results", tmp_path)
    assert isinstance(asked.exception, HarnessError), "nobody can be asked here"
    assert "--yes" in str(asked.exception)
    assert path.read_text() == before
    (row,) = [line for line in asked.stdout.splitlines() if "ddp" in line]
    assert "changed" in row
    assert "→" in row
    updated(tmp_path, slower)
    assert path.read_text() != before
    again = updated(tmp_path, slower)
    assert "nothing changes" in again.output


def test_added_and_removed_cells_are_named() -> None:
    old, new = side(2), side(2)[:20] + side(1, cell="new")
    words = {change.cell: change.word for change in difference(old, new)}
    assert words == {"c0": "equal", "new": "added", "c1": "removed"}


def test_a_small_change_is_a_small_difference_of_lines() -> None:
    measured = side(2, rounds=12)
    kept, _left_out = baseline_of(list(reversed(measured)))
    assert [item.round for item in kept[:12]] == [str(number) for number in range(12)], "10 behind 9"
    one = [
        item.model_copy(update={"metrics": {**item.metrics, "step_s": 9.0}}) if n == 3 else item
        for n, item in enumerate(measured)
    ]
    changed = set(text_of(baseline_of(one)[0]).splitlines()) - set(text_of(kept).splitlines())
    assert len(changed) == 1


def test_cells_with_failed_rounds_are_left_out_and_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_run_info(suite_file="speed.toml", planned=2, ended_at="2026-11-28T20:00:00"))
    for strategy, status in (("ddp", Status.OK), ("fsdp", Status.OOM)):
        folder.append(a_record(a_trial(strategy=strategy), status=status), None)
    done = updated(tmp_path, folder.folder)
    assert "left out: gpt/nano fsdp fp32: round seed 0, repeat 0 ended OOM" in done.output
    assert len(stored(tmp_path / "baselines" / "machine-a" / "speed.jsonl")) == 1
    with pytest.raises(HarnessError, match="nothing to keep"):
        baseline_of([item.model_copy(update={"status": "OOM"}) for item in side()])
    with pytest.raises(HarnessError, match="of one machine"):
        baseline_of([*side(), *side(machine="n")])


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b"])
def test_names_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="no name for a file"):
        path_of(tmp_path, "m", name)


def test_a_file_says_its_suite_by_option(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    path.write_text(text_of(side()))
    assert "--suite-name" in str(updated(tmp_path, path).exception)
    assert updated(tmp_path, path, "--suite-name", "mine").exit_code == 0
    shown = json.loads(typed("baseline", "show", "--results", tmp_path, "--json").stdout)
    assert [(row["machine"], row["suite"], row["rounds"]) for row in shown] == [("m", "mine", 20)]


def test_nothing_kept_says_what_to_do(tmp_path: Path) -> None:
    assert "harness baseline update RUN" in str(typed("baseline", "show", "--results", tmp_path).exception)


# as a side


def verdicts(a: Path, b: Path, *options: str) -> dict[str, str]:
    content = json.loads(typed("compare", a, b, "--json", *options).stdout)
    return {
        each["label"] + " " + each["metric"]: each["verdict"] + ": " + each["reason"] for each in content["judgements"]
    }


def test_a_baseline_is_compared_through_the_anchor_alone(tmp_path: Path, run: Path) -> None:
    updated(tmp_path, run)
    path = tmp_path / "baselines" / "machine-a" / "speed.jsonl"
    slower = write_run(tmp_path, 1, 0.9)
    without = verdicts(path, slower)
    assert without["gpt/nano ddp step_cpu_s"].startswith("undecided")
    through = verdicts(path, slower, "--baseline-is-anchor")
    assert through["gpt/nano ddp step_cpu_s"].startswith("regressed")
    gate = typed("gate", "--baseline", path, "--candidate", slower, "--baseline-is-anchor")
    assert gate.exit_code == 1


def test_a_baseline_of_another_machine_is_not_comparable(tmp_path: Path, run: Path) -> None:
    updated(tmp_path, run)
    path = tmp_path / "baselines" / "machine-a" / "speed.jsonl"
    path.write_text(path.read_text().replace("machine-a", "machine-b"))
    gate = typed("gate", "--baseline", path, "--candidate", write_run(tmp_path, 1, 0.6), "--baseline-is-anchor")
    assert gate.exit_code == 3
    assert "other machines" in gate.stdout


def test_a_file_of_records_is_a_side(tmp_path: Path, run: Path) -> None:
    def figures(measured: list[Measured]) -> list[tuple[str, str, object]]:
        return [(item.cell, item.round, item.metrics) for item in measured]

    whole, _warnings = read_side(run, anchor=True)
    assert read_side(run / "trials.jsonl", anchor=True)[0] == whole, "with run.json beside it, it is the run"
    alone = tmp_path / "copied" / "some.jsonl"
    alone.parent.mkdir()
    shutil.copy(run / "trials.jsonl", alone)
    measured, warnings = read_side(alone)
    assert figures(measured) == figures(whole)
    assert {item.session for item in measured} == {str(alone)}
    assert warnings == []
    words = {each.verdict for each in compare(measured, whole)}
    assert words == {"undecided"}, "another session, and no anchor is known"
    assert len(read_run(run, series=False).series) == 0
    with alone.open("a") as file:
        file.write('{"half": ')
    with pytest.raises(InputError, match="last line is torn"):
        read_side(alone)
