"""Each strategy, optimizer and monitor that is registered has a benchmark of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import monitors
from harness.recipes import optimizers
from harness.strategies import registry as strategies

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Ids of all benchmarks, as pytest collects them."""
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "CI": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^benchmarks/\S+", done.stdout, re.MULTILINE))


def missing(collected: set[str], names: list[str], row: str) -> list[str]:
    """Names without a benchmark."""
    return [name for name in names if row.format(name) not in collected]


def test_all_that_is_registered_has_a_row(collected: set[str]) -> None:
    own = [entry.name for entry in strategies.entries() if entry.module.startswith("harness.")]
    for workload in ("gpt", "resnet"):
        assert missing(collected, own, f"benchmarks/bench_steps.py::bench_step[{workload}-{{}}]") == []
    own = [entry.name for entry in optimizers.registry.entries() if entry.module.startswith("harness.")]
    assert missing(collected, own, "benchmarks/bench_optimizers.py::bench_optimizer[{}]") == []
    own = [entry.name for entry in monitors.registry.entries() if entry.module.startswith("harness.")]
    assert missing(collected, own, "benchmarks/bench_monitors.py::bench_monitor[{}]") == []
    assert "benchmarks/bench_anchor.py::bench_anchor" in collected


def test_what_has_no_row_is_seen(collected: set[str]) -> None:
    assert missing(collected, ["planted"], "benchmarks/bench_steps.py::bench_step[gpt-{}]") == ["planted"]
