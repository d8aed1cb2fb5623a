"""Where the traces of a run are, and how they are laid out for TensorBoard."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine.packages import check_installed, extra, missing
from harness.run import tensorboard_server as server
from harness.run.store import traces_name
from harness.run.stored import StoredRun
from harness.run.trace_files import LISTED, lay_out, trace_files
from harness.schema.errors import HarnessError, InputError
from tests.trials import a_record, a_run_info, a_trial

TRACED = a_trial(kind="trace")


def run_with(folder: Path, names: list[str], **changes: Any) -> StoredRun:
    """A run of one trace trial whose files have these names, in a folder of runs."""
    artifacts = {f"trace of rank {rank}": f"traces/{name}" for rank, name in enumerate(names)}
    record = a_record(TRACED, artifacts={**artifacts, "sample": "artifacts/sample.wav"}, **changes)
    return StoredRun(folder, a_run_info(), [a_record(), record])


def written(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / "traces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_the_folder_names_the_cell_and_cannot_leave_its_place() -> None:
    assert traces_name(TRACED) == f"gpt-nano_ddp_fp32-{TRACED.id}"
    odd = a_trial(kind="trace", workload="../../é x", techniques=("checkpointing",))
    assert traces_name(odd) == f"x-nano_ddp_fp32_checkpointing-{odd.id}"
    long = a_trial(kind="trace", workload="w" * 900)
    assert len(traces_name(long)) == 120 + 1 + 12


def test_names_as_now_and_as_they_were_are_listed_under_the_cell(tmp_path: Path) -> None:
    now = [f"{traces_name(TRACED)}/host_{rank}.17000000000000000{rank}.pt.trace.json.gz" for rank in (0, 1)]
    before = [f"{TRACED.id}-rank{rank}.json.gz" for rank in (0, 1)]
    for number, names in enumerate((now, before)):
        folder, shown = tmp_path / f"run{number}", tmp_path / f"shown{number}"
        written(folder, names)
        lay_out(trace_files(run_with(folder, names)), shown)
        (cell,) = shown.iterdir()
        assert cell.name == traces_name(TRACED)
        found = sorted(cell.iterdir())
        assert all(LISTED.fullmatch(path.name) for path in found)
        assert [path.read_bytes().decode() for path in found] == names
    assert not LISTED.fullmatch(before[0]), "control: the plugin would not list it"


def test_files_of_a_resumed_trial_are_in_the_run_that_traced_it(tmp_path: Path) -> None:
    names = [f"{TRACED.id}-rank0.json.gz"]
    written(tmp_path / "first", names)
    resumed = run_with(tmp_path / "second", names, resumed_from="first")
    assert [each.path.exists() for each in trace_files(resumed)] == [True]
    assert trace_files(run_with(tmp_path / "second", names)) == [], "what is not there is not listed"


def test_copied_where_links_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: Any, **_options: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    written(tmp_path, ["a/h_0.1.pt.trace.json.gz"])
    lay_out(trace_files(run_with(tmp_path, ["a/h_0.1.pt.trace.json.gz"])), tmp_path / "shown")
    (found,) = (tmp_path / "shown").rglob("*.gz")
    assert not found.is_symlink()


# The server, with a stand-in for TensorBoard

STAND_IN = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("TensorBoard 9 at http://127.0.0.1:6007/ (Press CTRL+C to quit)", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Replace what is started by a script."""
    start = server.subprocess.Popen

    def instead(script: str) -> None:
        def popen(_command: list[str], **options: Any) -> Any:
            return start([sys.executable, "-c", script], **options)

        monkeypatch.setattr(server, "subprocess", SimpleNamespace(Popen=popen, **_rest()))

    return instead


def _rest() -> dict[str, Any]:
    return {name: getattr(server.subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}


def test_what_was_started_and_its_children_are_ended(stand_in: Any, tmp_path: Path) -> None:
    stand_in(STAND_IN)
    with server.serving(tmp_path, 0) as board:
        assert board.url == "http://127.0.0.1:6007/"
        group = board.process.pid
        assert _alive(group)
    assert board.process.returncode == -signal.SIGTERM
    until = time.monotonic() + 20  # what is killed is gone a moment later
    while _alive(group) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _alive(group), "the child that it started as well"


def _alive(group: int) -> bool:
    """Whether any process of the group is running, not merely unreaped by its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def test_what_does_not_start_is_told_by_its_last_words(stand_in: Any, tmp_path: Path) -> None:
    stand_in("print('ERROR: no such thing\\n'); raise SystemExit(3)")
    with pytest.raises(HarnessError, match="TensorBoard did not start: ERROR: no such thing"):
        with server.serving(tmp_path, 0):
            pass
    stand_in("print('OSError: planted\\nFailed to load plugin X\\nat http://127.0.0.1:6007/'); input()")
    with pytest.raises(HarnessError, match="could not load torch-tb-profiler: OSError: planted"):
        with server.serving(tmp_path, 0):
            pass
    stand_in("print('could not bind to port 6006, it was already in use'); raise SystemExit(1)")
    with pytest.raises(InputError, match="--port: found 6006, expected a port that is free here"):
        with server.serving(tmp_path, 6006):
            pass


def test_sockets_of_the_plugin_have_room_whatever_the_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, expected in (("/tmp", None), ("/scratch/" + "x" * 60, "/tmp")):
        monkeypatch.setattr(server.tempfile, "gettempdir", lambda folder=folder: folder)
        assert server._short() == expected


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(HarnessError) as error:
        check_installed("harness profile", server.NEEDED, extra("trace"))
    expected = "harness profile: tensorboard and torch-tb-profiler are not installed: pip install 'dynamometer[trace]'"
    assert str(error.value) == expected
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "tensorboard" or None)
    assert missing(server.NEEDED) == ["tensorboard"]
