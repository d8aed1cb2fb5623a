"""Fidelity: the harness's `step_s` ÷ that of a bare hand-written loop of the same model, batch and threads.

Both are stepped in turn in the same processes, in blocks of 4 steps, who goes first drawn at random; the ratio of the
medians over a process, as `step_s` is a median; several fresh processes, the geometric mean over them.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from benchmarks.alternate import alternate
from benchmarks.conftest import Figure
from benchmarks.trials import CORES, planned
from harness.run.executors import local
from harness.run.executors.forkserver import start
from harness.schema.trial import Trial

PROCESSES = {"single": 16, "ddp": 24, "fsdp": 40}
"""Fresh process groups: identical loops differ by up to 3 % between them on a shared machine."""
BLOCKS = 16


def ratio_of(trial: Trial) -> float:
    """Ratio of the median steps in one fresh process group; the slowest rank's."""
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
    try:
        children = [start(alternate, job.model_dump_json(), BLOCKS) for job in local.jobs(trial, CORES, folder)]
        for child in children:
            child.join()
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("alternate-*.json"))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert len(found) == trial.processes, "a rank left no times"
    harness_s = max(statistics.median(rank["harness"]) for rank in found)
    return harness_s / max(statistics.median(rank["bare"]) for rank in found)


@pytest.mark.parametrize("strategy", ["single", "ddp", "fsdp"])
@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_fidelity(benchmark: Any, figure: Figure, workload: str, strategy: str) -> None:
    """One row per workload and strategy; the note is the 95 % interval over processes."""
    trial = planned(workload, strategy)
    ratios: list[float] = []
    benchmark.pedantic(lambda: ratios.append(math.log(ratio_of(trial))), rounds=PROCESSES[strategy], iterations=1)
    wide = float(stats.t.ppf(0.975, len(ratios) - 1))
    mean, half = statistics.mean(ratios), wide * statistics.stdev(ratios) / math.sqrt(len(ratios))
    note = f"[{math.exp(mean - half):.3f}, {math.exp(mean + half):.3f}] over {len(ratios)} processes"
    figure(f"fidelity {workload}/nano {strategy}", math.exp(mean), "0.98 to 1.02", 0.98, 1.02, note)
