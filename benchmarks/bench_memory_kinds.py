"""Memory by kind: what the harness says a step needs, all kinds together, against PyTorch's profiler.

The harness follows tensors (PyTorch's memory tracker). The profiler sees each block that the allocator gives and takes
back, and knows no kinds; at its peak when operations end it should hold the same bytes. What an operation takes and
gives back before it ends (working copies of a convolution) is no tensor: the note has the peak with it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.every_cell import label, planned_cells
from benchmarks.profiled import measure_twice
from benchmarks.trials import CORES
from harness.monitors.memory import BYTES_BY_KIND
from harness.run.executors import local
from harness.run.executors.forkserver import start
from harness.schema.trial import Trial

MEBIBYTE = 2**20
TIMEOUT_S = 120.0


def both(trial: Trial) -> list[dict[str, Any]]:
    """What each rank measured."""
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
    try:
        children = [start(measure_twice, job.model_dump_json()) for job in local.jobs(trial, CORES, folder)]
        for child in children:
            child.join(TIMEOUT_S)
            child.kill()
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("memory-*.json"))]
        said = [path.read_text()[-2000:] for path in sorted(folder.glob("*.stderr"))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert len(found) == trial.processes, f"a rank of {label(trial)} left no figures: {said}"
    return found


Ratio = tuple[float, dict[str, Any]]


def worst(ranks: list[dict[str, Any]]) -> Ratio:
    """Kinds added up ÷ the profiler's peak, and the rank: of ranks that hold as much the largest, of those
    the farthest from 1.

    Blocks whose end the profiler missed, on one rank more than on another, only make it smaller.
    """
    alike: dict[float, Ratio] = {}
    for rank in ranks:
        kinds = sum(rank[kind] for kind in BYTES_BY_KIND)
        found = kinds / rank["tensors"], rank
        held = round(kinds / MEBIBYTE, 1)
        alike[held] = max(alike.get(held, found), found, key=lambda pair: pair[0])
    return max(alike.values(), key=lambda pair: abs(pair[0] - 1))


@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_memory_kinds(benchmark: Any, figure: Figure, workload: str) -> None:
    """One row per cell."""
    trials = planned_cells(workload)
    found: list[list[dict[str, Any]]] = []
    benchmark.pedantic(lambda: found.extend(both(trial) for trial in trials), rounds=1, iterations=1)
    for trial, ranks in zip(trials, found, strict=True):
        if any(rank["untracked"] for rank in ranks):
            continue  # such a cell has no figure of memory, and says why
        ratio, rank = worst(ranks)
        kinds, tensors, most = (rank[name] / MEBIBYTE for name in ("peak_allocated_bytes", "tensors", "with_scratch"))
        note = f"{kinds:.3f} MiB, profiler {tensors:.3f}, inside operations {most:.3f}"
        figure(f"memory by kind ÷ profiler, {label(trial)}", ratio, "0.98 to 1.02", 0.98, 1.02, note)
