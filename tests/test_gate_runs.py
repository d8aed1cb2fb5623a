"""The gate's five exit codes, each of runs that the harness really did: one cell in versions that a file switches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests.conftest import PLUGINS

pytestmark = pytest.mark.processes

SUITE = """
question = "Does this version still learn?"
baseline = { strategy = "single" }
[fixed]
workload = "switched"
size = "only"
steps = 20
warmup_steps = 5
eval_every = 5
devices = 2
strategy = "single"
[budget]
seeds = [0, 1, 2]
repeats = 1
parity_steps = 2
"""
Versions = Callable[[str], Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in and the suite."""
    folder = tmp_path_factory.mktemp("versions")
    shutil.copy(PLUGINS / "switched.py", folder)
    (folder / "suite.toml").write_text(SUITE)
    return folder


def arguments(place: Path, suite: str = "suite.toml") -> list[str]:
    return ["run", f"{place}/{suite}", "--plugin", f"{place}/switched.py", "--results", f"{place}/results"]


@pytest.fixture(scope="module")
def version(place: Path) -> Versions:
    """The run folder of a version, run once each: as `harness run` leaves it."""
    runs: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in runs:
            (place / "switch").write_text(name.split()[0])
            done = CliRunner().invoke(app, arguments(place))
            runs[name] = Path(next(line for line in reversed(done.stdout.splitlines()) if line.startswith(str(place))))
        return runs[name]

    return run


def gate(a: Path, b: Path, *options: str) -> tuple[int, str, dict[str, dict[str, Any]]]:
    """The exit code, what it said, and the judgements by metric."""
    found = a / "gate.json"
    done = CliRunner().invoke(
        app, ["gate", "--baseline", str(a), "--candidate", str(b), "--json", str(found), *options]
    )
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output, {e["metric"]: e for e in json.loads(found.read_text())["judgements"]}


def test_0_the_same_code_twice(version: Versions) -> None:
    code, said, found = gate(version("base"), version("base again"))
    assert code == 0, said
    assert {name: each["verdict"] for name, each in found.items() if name in ("loss_area", "eval_accuracy")} == {
        "loss_area": "same", "eval_accuracy": "same",
    }, "the same curves to the last digit"  # fmt: skip
    assert found["loss_area"]["effect"] == 1.0
    assert found["model_flops"]["verdict"] == found["peak_allocated_bytes"]["verdict"] == "same"


def test_1_slower_learning_with_more_work_and_memory(version: Versions) -> None:
    code, said, found = gate(version("base"), version("changed"))
    assert code == 1, said
    for metric in ("loss_area", "model_flops", "peak_allocated_bytes"):
        assert found[metric]["verdict"] == "regressed", said
    assert found["parameters"]["verdict"] == "same"
    back = gate(version("changed"), version("base"))
    assert (back[0], back[2]["loss_area"]["verdict"]) == (0, "improved")


def test_1_what_b_broke(version: Versions) -> None:
    code, said, found = gate(version("base"), version("raises"))
    assert (code, found["status"]["verdict"]) == (1, "regressed"), said
    assert "planted" in found["status"]["reason"]


def test_2_nothing_was_measured(version: Versions) -> None:
    code, said, _found = gate(version("raises"), version("raises"))
    assert (code, "nothing was measured" in said) == (2, True), said


def test_3_another_machine(version: Versions, place: Path) -> None:
    """For torch it is one with a smaller instruction set. One seed of the same cell tells it."""
    (place / "switch").write_text("base")
    (place / "one.toml").write_text(SUITE.replace("[0, 1, 2]", "[0]"))
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-m", "harness.cli", *arguments(place, "one.toml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    code, said, found = gate(version("base"), Path(done.stdout.splitlines()[-1]))
    assert code == 3, said
    assert found[""]["reason"].startswith("other machines: cpu_capability")


def test_4_too_few_rounds_are_undecided(version: Versions) -> None:
    code, said, found = gate(version("base"), version("base again"), "--strict")
    assert (code, found["step_cpu_s"]["verdict"]) == (4, "undecided"), said
