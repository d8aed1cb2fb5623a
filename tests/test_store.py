"""The store: what was acknowledged is there, whatever died; what is not whole is named and never fatal."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import time
from pathlib import Path
from typing import TextIO

import pytest

from harness.run import series_file, store
from harness.run.store import RunFolder, append_line
from harness.run.stored import find_record, find_runs, past_seconds, read_run, stored_ok
from harness.schema.errors import StoreError
from harness.schema.record import Status
from tests.trials import a_record, a_run_info, a_series, a_trial


def written(results: Path, records: int = 3, **info: object) -> RunFolder:
    """A run with so many OK records of one cell."""
    run = RunFolder.create(results, a_run_info(**info))
    for repeat in range(records):
        trial = a_trial(repeat=repeat)
        run.append(a_record(trial), a_series(trial))
    return run


@pytest.fixture(params=["parquet", "npz", "jsonl"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How series are kept: columnar with and without pyarrow, or as lines because the run was cut off."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    if request.param == "npz":
        monkeypatch.setattr(series_file, "missing", list)
    return str(request.param)


def test_a_run_reads_back_as_it_was_written(tmp_path: Path, form: str) -> None:
    run = written(tmp_path)
    reference = a_trial(kind="reference", processes=1, devices=1)
    run.append_reference(a_record(reference), a_series(reference, 5))
    if form != "jsonl":
        run.finish(parent_cpu_s=0.5)
    assert (run.folder / f"steps.{form}").exists()
    assert (run.folder / "steps.jsonl").exists() == (form == "jsonl")

    back = read_run(run.folder)

    assert [record.trial.repeat for record in back.records] == [0, 1, 2]
    assert back.records == [a_record(a_trial(repeat=repeat)) for repeat in range(3)]
    assert [record.trial for record in back.references] == [reference]
    assert back.series == {
        **{a_trial(repeat=repeat).id: a_series(a_trial(repeat=repeat)) for repeat in range(3)},
        reference.id: a_series(reference, 5),
    }
    assert back.warnings == []
    assert (back.info.ended_at is None) == (form == "jsonl")


def lost_by_kill_9(results: Path, rounds: int) -> tuple[int, list[str]]:
    """A writer is killed at random moments: how many records it said were stored, and those that are not there."""
    generator = random.Random(0)
    lost, acknowledged_in_all = [], 0
    for _round in range(rounds):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_until_killed(results, writing, generator)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            folder = Path(pipe.readline().strip())
            time.sleep(generator.uniform(0.005, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            acknowledged = [line.strip() for line in pipe if line.endswith("\n")]
        back = read_run(folder)
        stored = {record.trial.id for record in back.records}
        lost += [trial_id for trial_id in acknowledged if trial_id not in stored or trial_id not in back.series]
        acknowledged_in_all += len(acknowledged)
    return acknowledged_in_all, lost


def write_until_killed(results: Path, acknowledge: int, generator: random.Random) -> None:
    try:
        run = RunFolder.create(results, a_run_info())
        os.write(acknowledge, f"{run.folder}\n".encode())
        for repeat in range(1_000_000):
            trial = a_trial(repeat=repeat)
            run.append(a_record(trial, reason="x" * generator.randrange(20_000)), a_series(trial, 200))
            os.write(acknowledge, f"{trial.id}\n".encode())
    finally:
        os._exit(1)


def test_every_acknowledged_record_survives_kill_9(tmp_path: Path) -> None:
    acknowledged, lost = lost_by_kill_9(tmp_path, rounds=12)
    assert acknowledged > 20
    assert lost == []


def test_the_kill_9_test_sees_a_writer_that_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: lines kept in a buffer of this process are lost with it."""
    files: dict[Path, TextIO] = {}

    def buffered(path: Path, line: str) -> None:
        if path not in files:
            # A buffer that is never full: nothing gets out by luck.
            files[path] = open(path, "a", buffering=2**26)  # noqa: SIM115
        files[path].write(line + "\n")

    monkeypatch.setattr(store, "append_line", buffered)
    acknowledged, lost = lost_by_kill_9(tmp_path, rounds=2)
    assert acknowledged > 0
    assert lost != []


@pytest.mark.parametrize("cut", [1, 40, -2])
def test_a_torn_last_line_is_named_and_costs_nothing_else(tmp_path: Path, cut: int) -> None:
    run = written(tmp_path)
    line = a_record(a_trial(repeat=9)).to_line()
    with open(run.folder / "trials.jsonl", "a") as file:
        file.write(line[:cut])
    back = read_run(run.folder)
    assert [record.trial.repeat for record in back.records] == [0, 1, 2]
    assert len(back.warnings) == 1
    assert "trials.jsonl:4: last line is torn" in back.warnings[0]


def test_a_torn_last_line_of_steps_leaves_the_record(tmp_path: Path) -> None:
    run = written(tmp_path, records=1)
    with open(run.folder / "steps.jsonl", "a") as file:
        file.write('{"schema": 1, "trial_id": "x", "colu')
    back = read_run(run.folder)
    assert len(back.records) == 1
    assert len(back.series) == 1
    assert "steps.jsonl:2: last line is torn" in back.warnings[0]


@pytest.mark.parametrize(
    "damage",
    [b"\x00\x00\x00\n", b"not json\n", b"[1, 2]\n", b'{"schema": "x"}\n', b"\xff\xfe\xfd\n", b"[" * 100_000 + b"\n"],
)
def test_a_damaged_line_in_the_middle_is_named_and_left_out(tmp_path: Path, damage: bytes) -> None:
    run = written(tmp_path)
    path = run.folder / "trials.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + damage + second + third)
    back = read_run(run.folder)
    assert [record.trial.repeat for record in back.records] == [0, 1, 2]
    assert [f"{path}:2: line is damaged; left out"] == back.warnings


def test_a_line_that_is_no_record_says_which_key(tmp_path: Path) -> None:
    run = written(tmp_path, records=1)
    line = json.loads(a_record(a_trial(repeat=1)).to_line())
    line["status"] = "SPLENDID"
    append_line(run.folder / "trials.jsonl", json.dumps(line))
    back = read_run(run.folder)
    assert len(back.records) == 1
    assert "trials.jsonl:2: status: Input should be 'OK'" in back.warnings[0]


def test_of_equal_ids_the_last_wins_and_is_named(tmp_path: Path) -> None:
    run = written(tmp_path, records=1)
    run.append(a_record(a_trial(repeat=0), status=Status.CRASHED), None)
    back = read_run(run.folder)
    assert [record.status for record in back.records] == [Status.CRASHED]
    assert "more than once" in back.warnings[0]


def test_newer_lines_are_left_out_and_keys_unknown_to_this_version_ignored(tmp_path: Path) -> None:
    run = written(tmp_path, records=1)
    line = json.loads(a_record(a_trial(repeat=1)).to_line())
    append_line(run.folder / "trials.jsonl", json.dumps({**line, "schema": 99}))
    append_line(run.folder / "trials.jsonl", json.dumps({**line, "a_key_of_tomorrow": {"x": 1}}))
    back = read_run(run.folder)
    assert [record.trial.repeat for record in back.records] == [0, 1]
    assert back.warnings == [f"{run.folder}/trials.jsonl:2: written by a newer version (schema 99, known 1); left out"]


def test_a_newer_run_file_is_refused(tmp_path: Path) -> None:
    run = written(tmp_path, records=1)
    info = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**info, "schema": 2}))
    with pytest.raises(StoreError, match=r"newer version \(schema 2, known 1\): update the harness"):
        read_run(run.folder)


@pytest.mark.parametrize("content", [None, "", "{}", '{"suite": {'])
def test_a_folder_without_a_usable_run_file_is_refused_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(StoreError) as caught:
        read_run(tmp_path)
    assert "run.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not there: expected a folder that `harness run` wrote"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is not a folder"):
        read_run(tmp_path / "file")


def test_damaged_series_leave_the_records(tmp_path: Path) -> None:
    run = written(tmp_path)
    run.finish()
    (columnar,) = run.folder.glob("steps.*")
    columnar.write_bytes(columnar.read_bytes()[:50])
    back = read_run(run.folder)
    assert len(back.records) == 3
    assert back.series == {}
    assert f"{columnar}: cannot be read" in back.warnings[0]


class Explosive:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    import numpy as np

    run, trap = written(tmp_path), tmp_path / "unpickled"
    payload = np.array([Explosive(trap)], dtype=object)
    np.savez(run.folder / "steps.npz", trial_id=payload, schema=np.array(1))
    back = read_run(run.folder)
    assert not trap.exists()
    assert "steps.npz: cannot be read" in back.warnings[0]
    pickle.loads(pickle.dumps(Explosive(trap)))  # control: the trap does go off when it is unpickled
    assert trap.exists()


def test_a_cut_between_the_compact_file_and_the_removal_of_the_lines(tmp_path: Path) -> None:
    run = written(tmp_path)
    shutil.copy(run.folder / "steps.jsonl", tmp_path / "kept")
    run.finish()
    shutil.move(tmp_path / "kept", run.folder / "steps.jsonl")
    back = read_run(run.folder)
    assert len(back.series) == 3
    assert back.warnings == []


def test_lines_stay_where_the_compact_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = written(tmp_path)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(series_file, "_write_parquet", full)
    monkeypatch.setattr(series_file, "_write_npz", full)
    with pytest.raises(StoreError, match="No space left on device"):
        run.finish()
    assert len(read_run(run.folder).series) == 3


def test_a_write_cut_short_by_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel writes half of the line: the error is raised and the next record starts on a line of its own."""
    run, whole = written(tmp_path, records=1), os.write
    monkeypatch.setattr(store.os, "write", lambda descriptor, data: whole(descriptor, data[: len(data) // 2]))
    with pytest.raises(StoreError, match="No space left on device"):
        run.append(a_record(a_trial(repeat=1)), None)
    monkeypatch.undo()
    run.append(a_record(a_trial(repeat=2)), None)
    back = read_run(run.folder)
    assert [record.trial.repeat for record in back.records] == [0, 2]
    assert back.warnings == []


def test_a_full_disk_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1024 * 1024)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(StoreError, match=r"1\.0 MiB free, expected at least 16 MiB for 2 trials"):
        RunFolder.create(tmp_path / "deep" / "results", a_run_info())
    assert list(tmp_path.iterdir()) == []


def test_results_that_cannot_be_written_are_refused_with_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"file.*: Not a directory"):
        RunFolder.create(tmp_path / "file", a_run_info())
    assert (tmp_path / "file").read_text() == "mine"

    def refused(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "run.json")

    monkeypatch.setattr(store, "replace_file", refused)
    with pytest.raises(StoreError, match=r"run\.json: Permission denied"):
        RunFolder.create(tmp_path / "deep" / "results", a_run_info())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_runs_of_one_moment_never_share_a_folder(tmp_path: Path) -> None:
    folders = {RunFolder.create(tmp_path, a_run_info()).folder for _ in range(20)}
    assert len(folders) == 20
    assert sorted(folders) == find_runs(tmp_path)
    assert find_runs(tmp_path / "nothing") == []


def test_resume_takes_only_ok_records_of_the_same_machine(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, a_run_info())
    good, bad, foreign = (a_trial(repeat=repeat) for repeat in range(3))
    run.append(a_record(good), a_series(good))
    run.append(a_record(bad, status=Status.TIMEOUT), a_series(bad))
    run.append(a_record(foreign, environment="machine-b"), a_series(foreign))
    run.finish()

    found = stored_ok(tmp_path, "machine-a")

    assert list(found) == [good.id]
    record, series = found[good.id]
    assert record.resumed_from == run.folder.name
    assert series == a_series(good)
    assert a_trial(repeat=0, steps=5).id not in found


def test_resume_names_the_run_that_executed_the_trial_not_the_one_that_copied_it(tmp_path: Path) -> None:
    first = written(tmp_path, records=1)
    (record, series) = stored_ok(tmp_path, "machine-a")[a_trial().id]
    second = RunFolder.create(tmp_path, a_run_info())
    second.append(record, series)
    assert stored_ok(tmp_path, "machine-a")[a_trial().id][0].resumed_from == first.folder.name


def test_resume_reads_on_past_a_run_that_cannot_be_read(tmp_path: Path) -> None:
    written(tmp_path, records=1)
    broken = written(tmp_path, records=1)
    (broken.folder / "run.json").write_text("{")
    said: list[str] = []
    assert len(stored_ok(tmp_path, "machine-a", said.append)) == 1
    assert len(said) == 1
    assert "run.json" in said[0]


def test_a_record_is_found_by_its_id_the_newest_first(tmp_path: Path) -> None:
    written(tmp_path)
    trial = a_trial(repeat=1)
    time.sleep(0.002)  # folders are named by the millisecond
    newer = RunFolder.create(tmp_path, a_run_info())
    newer.append(a_record(trial, status=Status.OOM), None)
    found = find_record(tmp_path, trial.id)
    assert found is not None
    assert (found[0], found[1].status) == (newer.folder, Status.OOM)
    assert find_record(tmp_path, "0" * 12) is None


def test_past_seconds_are_of_this_machine_only(tmp_path: Path) -> None:
    written(tmp_path)
    assert past_seconds(tmp_path, "machine-a") == {a_trial().cell: 2.5}
    assert past_seconds(tmp_path, "machine-b") == {}
