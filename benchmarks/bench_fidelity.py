"""Fidelity: the harness's `step_s` ÷ that of a bare hand-written loop of the same model, batch and threads.

Both are stepped in turn in the same processes, in blocks of 4 steps, who goes first drawn at random. The statistic of a
process group is the ratio of the medians, as `step_s` is a median; the figure is the centre over many fresh groups, as
identical loops differ between groups by 3 to 5 % (where their memory lies), however long they run there.
The bare loop is there twice: the harness is held against the mean of both, and how far the two differ is printed beside
it, as what identical code looks like here.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alternate import ARMS, alternate
from benchmarks.conftest import Figure
from benchmarks.trials import CORES, planned
from harness.analyse.stats import Paired
from harness.run.executors import local
from harness.run.executors.forkserver import start
from harness.schema.suite import Choice
from harness.schema.trial import Trial

GROUPS = {1: 24, 2: 48}
"""ranks → fresh process groups"""
BLOCKS = 8
STRATEGIES = ["single", "ddp", "zero1", "fsdp", {"name": "fsdp", "reshard_after_forward": False}]


def log_ratios(trial: Trial, arms: Sequence[str], take_turns: Callable[..., None], *given: int) -> tuple[float, float]:
    """Log ratios of one fresh process group: the first arm to the mean of both others, and the last to the second.

    take_turns: runs in each rank with the job and what is given, and leaves the arms' seconds as `turns-RANK.json`.
    """
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
    try:
        children = [start(take_turns, job.model_dump_json(), *given) for job in local.jobs(trial, CORES, folder)]
        for child in children:
            child.join()
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("turns-*.json"))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert len(found) == trial.processes, "a rank left no times"
    first, same, again = (math.log(max(statistics.median(rank[arm]) for rank in found)) for arm in arms)
    return first - (same + again) / 2, again - same


def centre(logs: Sequence[float]) -> float:
    """Centre of ratios given as logs, by the estimate of Hodges and Lehmann: groups have heavy tails."""
    return math.exp(Paired.of(logs).centre[0])


def interval(logs: Sequence[float]) -> str:
    """The centre with its 95 % interval, free of a distribution."""
    low, high = (math.exp(end[0]) for end in Paired.of(logs).interval())
    return f"{centre(logs):.3f} [{low:.3f}, {high:.3f}]"


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: Choice.model_validate(strategy).label)
@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_fidelity(benchmark: Any, figure: Figure, workload: str, strategy: Any) -> None:
    """One row per workload and strategy; the note has the 95 % intervals over process groups."""
    trial = planned(workload, strategy)
    found: list[tuple[float, float]] = []
    benchmark.pedantic(
        lambda: found.append(log_ratios(trial, ARMS, alternate, BLOCKS)), rounds=GROUPS[trial.processes], iterations=1
    )
    ours, same = zip(*found, strict=True)
    note = f"{interval(ours)} over {len(found)} groups; two bare loops {interval(same)}"
    name = f"fidelity {workload}/nano {trial.strategy.label}"
    figure(name, centre(ours), "0.98 to 1.02", 0.98, 1.02, note)
