"""In one process group: the harness's own step and a bare loop, in turn. Runs in children of the fork server."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.bare import bare_stepper, timed
from harness.measure.job import Job
from harness.measure.loop import run_laps
from harness.measure.training import build_training
from harness.measure.worker import settle
from harness.workloads import Workload, registry

BLOCK = 4
WARMUP_BLOCKS = 2
ARMS = ("harness", "bare", "bare again")
Arm = Callable[[int], list[float]]
"""number of steps → seconds of each"""


def alternate(job_json: str, blocks: int) -> None:
    """Time `blocks` blocks of 4 steps of each arm, who goes first drawn at random; write the arms' step times.

    The bare loop is there twice, built alike: how far the two differ is what this machine cannot tell apart. All arms
    begin each block behind a barrier, so that none pays for a rank that is still in the block before.
    """
    job = Job.model_validate_json(job_json)
    settle(job)
    if job.world_size > 1:
        dist.init_process_group("gloo", init_method=job.init, rank=job.rank, world_size=job.world_size)
    draw = random.Random(job.folder)  # the same on every rank
    padding = torch.ones(draw.randrange(1, 2**20))
    arms = built(job, draw)
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for number in range(WARMUP_BLOCKS + blocks):
        for name in draw.sample(ARMS, len(ARMS)):
            found = arms[name](BLOCK)
            if number >= WARMUP_BLOCKS:
                seconds[name].extend(found)
    Path(job.folder, f"turns-{job.rank}.json").write_text(json.dumps(seconds))
    os._exit(0 if len(padding) else 1)


def built(job: Job, draw: random.Random) -> dict[str, Arm]:
    """All arms, in an order drawn at random.

    Children of the fork server begin with the same heap: built in a fixed order, behind the same allocations, one arm
    had the luckier addresses in every process, and identical steps differed by up to 2 % with a narrow interval.
    """
    workload: Workload = registry[job.trial.workload.name].function(job.trial.size)

    def harness() -> Arm:
        training = build_training(job.trial, job.rank, job.world_size, job.rank)
        return lambda count: run_laps(training, count).step_s

    def bare() -> Arm:
        step, _model = bare_stepper(job.trial, workload, job.rank, job.world_size)

        def together(count: int) -> list[float]:
            if job.world_size > 1:
                dist.barrier()
            return timed(step, count)

        return together

    return {name: harness() if name == "harness" else bare() for name in draw.sample(ARMS, len(ARMS))}
