"""`harness profile`: traces a suite's cells and nothing else, and TensorBoard with torch-tb-profiler shows them."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from harness.machine.packages import extra, not_installed
from harness.run.stored import read_run
from harness.run.tensorboard_server import NEEDED
from harness.run.trace_files import trace_files
from tests.browser import CHROMIUM, chromium_for_tests
from tests.conftest import PLUGINS
from tests.test_end_to_end import Marked, gone, marked, suite_file
from tests.trace_format import apart, complaints

__all__ = ["marked"]

pytestmark = pytest.mark.processes
shows = pytest.mark.skipif(bool(not_installed(NEEDED)), reason=str(not_installed(NEEDED, extra("trace"))))
browses = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", "profile", *arguments]


def profiled(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, env={**os.environ, "CI": "1", **environment}
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a suite of two cells, traced by the command."""
    folder = tmp_path_factory.mktemp("profile")
    more = ("--plugin", str(PLUGINS / "tiny.py"), "--results", str(folder / "results"), "--no-serve")
    done = profiled(str(suite_file(folder)), *more)
    assert done.returncode == 0, done.stderr
    assert "2 cells to trace" in done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_cells_are_traced_and_nothing_else_is_run(run: Path) -> None:
    stored = read_run(run)
    assert [record.trial.kind for record in stored.records] == ["trace", "trace"]
    assert stored.references == []
    assert len(trace_files(stored)) == 3, "one rank and two"
    again = profiled(str(run), "--no-serve", "--json")
    rows = json.loads(again.stdout.rpartition("]")[0] + "]")
    assert [(row["cell"].split()[0], row["status"]) for row in rows] == [("single", "OK"), ("ddp", "OK")]
    assert all((run / row["trace"]).is_dir() for row in rows)
    assert rows[0]["most time"]


def test_traces_are_sound_trace_events_and_ranks_are_apart(run: Path) -> None:
    """Perfetto itself cannot be had here: what is known of its format is checked, and seen failing below."""
    cells = traces(run)
    assert [len(each) for each in cells] == [1, 2]
    for trace in (each for cell in cells for each in cell):
        assert complaints(trace) == []
        assert sum(event["ph"] == "X" for event in trace["traceEvents"]) > 100
    assert apart(cells[1]) == []


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"ph": "X", "ts": 1.0, "dur": 1.0, "tid": 1, "name": "x"}, "has no pid"),
        ({"ph": "X", "ts": 1.0, "dur": -1.0, "pid": 1, "tid": 1, "name": "x"}, "x has the time 1.0 and duration -1.0"),
        ({"ph": "X", "ts": 1.0, "pid": 1, "tid": 1, "name": "x"}, "x has the time 1.0 and duration None"),
        ({"ph": "?", "ts": 1.0, "pid": 1, "tid": 1, "name": "x"}, "is of the unknown kind '?'"),
        ({"ph": "X", "ts": 1.0, "dur": 1.0, "pid": 1, "tid": 1, "name": "x"}, "thread (1, 1) has no name"),
    ],
)
def test_what_is_wrong_in_a_trace_is_seen(run: Path, event: dict[str, Any], said: str) -> None:
    """Negative control: planted into a real trace."""
    trace = traces(run)[0][0]
    trace["traceEvents"].append(event)
    (found,) = complaints(trace)
    assert said in found


def test_events_that_overlap_and_ranks_of_one_process_are_seen(run: Path) -> None:
    """Negative control."""
    trace, other = traces(run)[1]
    step = next(each for each in trace["traceEvents"] if each["name"] == "ProfilerStep#3")
    trace["traceEvents"].append({**step, "name": "late", "ts": step["ts"] + step["dur"] - 0.01, "dur": 5.0})
    assert "late begins within" in complaints(trace)[-1]
    assert apart([trace, trace])
    assert apart([other, trace]) == ["ranks are [1, 0]"]


def traces(run: Path) -> list[list[dict[str, Any]]]:
    """Of each cell, the traces of its ranks, in their order."""
    folders: dict[Path, list[dict[str, Any]]] = {}
    for path in sorted((run / "traces").glob("*/*.pt.trace.json.gz")):
        folders.setdefault(path.parent, []).append(json.loads(gzip.decompress(path.read_bytes())))
    return sorted(folders.values(), key=len)


def test_what_cannot_be_opened_is_said_in_a_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nothing = profiled(str(tmp_path / "empty"), "--no-serve")
    assert (nothing.returncode, "has no run.json" in nothing.stderr) == (2, True)
    (tmp_path / "lost").mkdir()
    for name in ("run.json", "trials.jsonl"):
        (tmp_path / "lost" / name).write_bytes((run / name).read_bytes())
    lost = profiled(str(tmp_path / "lost"), "--no-serve")
    assert (lost.returncode, "nothing was traced" in lost.stderr) == (2, True)
    (tmp_path / "lost" / "trials.jsonl").write_text("")
    none = profiled(str(tmp_path / "lost"), "--no-serve")
    assert (none.returncode, "expected a run of a suite with [budget] trace = true" in none.stderr) == (2, True)
    assert "Traceback" not in nothing.stderr + lost.stderr + none.stderr


# Shown


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder for a command and all that it starts; nothing may be left in it."""
    folder = Path(tempfile.mkdtemp(prefix="harness-"))
    yield folder
    assert [path.name for path in folder.iterdir()] == []
    folder.rmdir()


@pytest.mark.browser
@shows
@browses
def test_the_plugin_lists_the_cells_and_shows_an_overview(run: Path, marked: Marked, scratch: Path) -> None:
    """In a real browser that reaches 127.0.0.1 alone; then Ctrl-C ends everything and leaves nothing."""
    started = subprocess.Popen(
        command(str(run), "--port", "0"), stdout=subprocess.PIPE, text=True, env={**marked, "TMPDIR": str(scratch)}
    )
    try:
        assert started.stdout is not None
        shown = looked_at(address(started.stdout))
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(60)
    assert started.returncode == 0
    assert gone(marked["HARNESS_TEST_MARK"])
    cells = sorted(folder.name for folder in (run / "traces").iterdir())
    assert shown["runs"] == cells
    for said in ("Step Time Breakdown", "Execution Summary", "Device Type\nCPU", "Number of Worker(s)\n2"):
        assert said in shown["text"]
    ours = next(record for record in read_run(run).records if record.trial.strategy.name == "ddp")
    for rank, theirs in zip(ours.per_rank, shown["communication_s"], strict=True):
        share = theirs / rank.metrics["comm_s"]
        assert 0 < share < 1.01, "the plugin leaves out what lies between two steps: how much that is, is the machine's"


def address(output: IO[str]) -> str:
    """The URL that the command prints."""
    for line in output:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S*", line):
            return found[0]
    raise AssertionError("no address was printed")


CHARTS = """
const anything = () => new Proxy({}, { get: () => () => [] });
const kinds = { events: anything(), arrayToDataTable: anything };
const visualization = new Proxy({}, { get: (_own, name) => kinds[name] || function () { return anything(); } });
window.google = { visualization, charts: { load: () => undefined, setOnLoadCallback: (then) => then() } };
"""
"""What the plugin's page asks gstatic.com for, as far as it calls it: nothing is drawn."""


def looked_at(url: str) -> dict[str, Any]:
    """What the plugin's page lists, and what it says of the first run."""
    with chromium_for_tests() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1:)"), _instead)
        asked = _Asked(page.request, url.partition("#")[0])
        while asked("runs")["loading"]:
            page.wait_for_timeout(200)
        page.goto(url)
        frame = page.frame_locator("iframe")
        frame.get_by_text("Step Time Breakdown").wait_for(timeout=120_000)
        frame.get_by_text("Performance Recommendation").wait_for()
        said = frame.locator("body").inner_text()
        frame.locator("[role=button][aria-haspopup=listbox]").first.click()
        frame.locator("[role=option]").first.wait_for()
        shown = {"runs": frame.locator("[role=option]").all_inner_texts(), "text": said}
        shown["communication_s"] = asked.communication_s(next(name for name in shown["runs"] if "ddp" in name))
    return shown


@dataclass
class _Asked:
    """Answers of the plugin's server."""

    request: Any
    address: str

    def __call__(self, what: str, **parameters: str) -> Any:
        return self.request.get(f"{self.address}data/plugin/pytorch_profiler/{what}", params=parameters).json()

    def communication_s(self, run: str) -> list[float]:
        """Seconds of communication per step that the plugin reports, a figure per rank."""
        found = []
        for worker in self("workers", run=run, view="Overview"):
            span = self("spans", run=run, worker=worker)[0]
            parts = self("overview", run=run, worker=worker, span=span)["performance"][0]["children"]
            found += [part["value"] * 1e-6 for part in parts if part["name"] == "Communication"]
        return found


def _instead(route: Any) -> None:
    if route.request.url.endswith("/charts/loader.js"):
        route.fulfill(content_type="text/javascript", body=CHARTS)
    else:
        route.abort()
