"""Observer effect: step time of a window with all monitors ÷ one without, in turn in the same processes.

A monitor may read a counter when a stretch of the window begins or ends and does nothing in between, except a power
meter that samples in a thread of its own. So each stretch here is as short as in a trial that evaluates every 4 steps.
Who goes first is drawn; a third arm, without monitors again, shows what identical code looks like here.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_fidelity import centre, interval, log_ratios
from benchmarks.conftest import Figure
from benchmarks.trials import planned

ARMS = ("watched", "alone", "alone again")
STRETCH, WARMUP, STRETCHES = 4, 2, 12
GROUPS = {1: 10, 2: 16}
"""ranks → fresh process groups"""


def take_turns(job_json: str) -> None:
    """Time stretches of steps with and without monitors, and write the steps' seconds of each arm."""
    import torch.distributed as dist

    from harness import monitors
    from harness.measure.job import Job
    from harness.measure.loop import run_laps
    from harness.measure.training import build_training
    from harness.measure.worker import settle
    from harness.schema.record import Phase, RankResult

    job = Job.model_validate_json(job_json)
    settle(job)
    if job.world_size > 1:
        dist.init_process_group("gloo", init_method=job.init, rank=job.rank, world_size=job.world_size)
    training = build_training(job.trial, job.rank, job.world_size, job.rank)
    watching = [entry.function() for entry in monitors.registry.entries()]
    draw = random.Random(job.folder)  # the same on every rank
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for monitor in watching:
        monitor.window_begins(training)
    for number in range(WARMUP + STRETCHES):
        for arm in draw.sample(ARMS, len(ARMS)):
            asked = watching if arm == "watched" else []
            for monitor in asked:
                monitor.stretch_begins(training)
            laps = run_laps(training, STRETCH)
            for monitor in asked:
                monitor.stretch_ends(training)
            if number >= WARMUP:
                seconds[arm].extend(laps.step_s)
    for monitor in watching:
        monitor.window_ends(training, RankResult(rank=job.rank, phase=Phase.TIMED))
    Path(job.folder, f"turns-{job.rank}.json").write_text(json.dumps(seconds))
    os._exit(0)


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def bench_observer(benchmark: Any, figure: Figure, strategy: str) -> None:
    """Centre over process groups, with its 95 % interval and that of identical code."""
    trial = planned("gpt", strategy)
    found: list[tuple[float, float]] = []
    benchmark.pedantic(
        lambda: found.append(log_ratios(trial, ARMS, take_turns)), rounds=GROUPS[trial.processes], iterations=1
    )
    watched, same = zip(*found, strict=True)
    ratio = centre(watched)
    note = f"{interval(watched)} over {len(found)} groups; identical code {interval(same)}"
    figure(f"observer effect on a step, gpt/nano {strategy}", ratio, "<= 1.01", 0, 1.01, note)
