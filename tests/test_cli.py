"""The doors: every command's help, tables and JSON, and what a terminal shows."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.terminal import app
from harness.report.listing import KINDS
from harness.run.executors import local
from harness.run.invocation import Asked, ready
from tests.conftest import PLUGINS

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
SUITES = sorted((Path(__file__).parent.parent / "benchmarks" / "suites").glob("*.toml"))


def harness(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "CI": "1", **environment}
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_wrong_command_names_the_nearest() -> None:
    done = harness("pln")
    assert done.returncode == 2
    assert "plan" in done.stderr


@pytest.mark.parametrize("kind", list(KINDS))
def test_list_gives_the_same_names_as_json_and_as_table(kind: str) -> None:
    rows = json.loads(harness("list", kind, "--json").stdout)
    built_in = [entry.name for entry in KINDS[kind].entries() if entry.module.startswith("harness.")]
    assert [row["name"] for row in rows] == built_in  # plug-ins that other tests loaded here are none of theirs
    table = harness("list", kind).stdout
    for row in rows:
        assert row["name"] in table
        assert row["what"], f"{row['name']} says nothing about itself"


def test_list_of_an_unknown_kind_names_the_nearest() -> None:
    done = harness("list", "strategys")
    assert done.returncode == 2
    assert "did you mean 'strategies'" in done.stderr


def test_list_knows_plugins() -> None:
    done = harness("list", "workloads", "--plugin", str(PLUGINS / "tiny.py"), "--json")
    assert "tiny" in {row["name"] for row in json.loads(done.stdout)}


@pytest.mark.processes
def test_doctor_says_what_there_is_as_json() -> None:
    rows = {row["what"]: row for row in json.loads(harness("doctor", "--json").stdout)}
    assert int(rows["cores"]["found"]) == len(os.sched_getaffinity(0))
    assert rows["machine key"]["found"]


@pytest.mark.processes
def test_plan_of_the_quick_suite_keeps_impossible_cells_with_their_reason() -> None:
    quick = Path(__file__).parent.parent / "benchmarks" / "suites" / "quick.toml"
    done = harness("plan", str(quick), "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    impossible = [row for row in rows if row["status"] == "UNSUPPORTED"]
    assert any("DataParallel" in row["reason"] for row in impossible)
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))


@pytest.mark.processes
def test_committed_suites_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = local.probe()
    monkeypatch.setattr(local, "probe", lambda: inventory)
    for suite in SUITES:
        assert ready(Asked(suite)).plan.trials, suite


def test_report_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    done = harness("report", "--latest", "--results", str(tmp_path))
    assert done.returncode == 2
    assert "harness run" in done.stderr


def test_rerun_of_an_unknown_trial(tmp_path: Path) -> None:
    done = harness("rerun", "0123456789ab", "--results", str(tmp_path))
    assert done.returncode == 2
    assert "0123456789ab" in done.stderr


@pytest.mark.processes
def test_terminal_shows_a_live_matrix_and_gives_the_cursor_back(tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text('question = "?"\n[fixed]\nworkload = "tiny"\nsteps = 5\nwarmup_steps = 5\n[budget]\nrepeats = 2\n')
    command = ["run", str(suite), "--results", str(tmp_path / "results"), "--plugin", str(PLUGINS / "tiny.py")]
    main, side = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "CI"} | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *command], stdout=subprocess.PIPE, stderr=side, env=environment
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    process.communicate(timeout=60)
    os.close(main)
    text = shown.decode(errors="replace")
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert process.returncode == 0, text
    assert "tiny/only single fp32" in text
    assert "●●" in plain
    assert "\x1b[?25l" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
