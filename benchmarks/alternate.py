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
from harness.measure.training import Training, build_training
from harness.measure.worker import settle
from harness.workloads import Workload, registry

BLOCK = 4
WARMUP_BLOCKS = 4


def alternate(job_json: str, blocks: int) -> None:
    """Time `blocks` blocks of 4 steps of each arm, who goes first drawn at random; write both lists of step times.

    Both arms begin each block behind a barrier, so that none pays for a rank that is still in the block before.
    """
    job = Job.model_validate_json(job_json)
    settle(job)
    if job.world_size > 1:
        dist.init_process_group("gloo", init_method=job.init, rank=job.rank, world_size=job.world_size)
    draw = random.Random(job.folder)  # the same on every rank
    padding = torch.ones(draw.randrange(1, 2**20))
    workload: Workload = registry[job.trial.workload.name].function(job.trial.size)
    training, bare = built(job, workload, bare_first=draw.random() < 0.5)
    harness_s: list[float] = []
    bare_s: list[float] = []
    for number in range(WARMUP_BLOCKS + blocks):
        arms = ["harness", "bare"]
        draw.shuffle(arms)
        for arm in arms:
            if arm == "harness":
                found = run_laps(training, BLOCK).step_s
            else:
                training.barrier()
                found = timed(bare, BLOCK)
            if number >= WARMUP_BLOCKS:
                (harness_s if arm == "harness" else bare_s).extend(found)
    path = Path(job.folder) / f"alternate-{job.rank}.json"
    path.write_text(json.dumps({"harness": harness_s, "bare": bare_s}))
    os._exit(0 if len(padding) else 1)


def built(job: Job, workload: Workload, bare_first: bool) -> tuple[Training, Callable[[], None]]:
    """Both arms, in either order.

    Children of the fork server begin with the same heap: built in a fixed order, behind the same allocations, one arm
    had the luckier addresses in every process, and identical steps differed by up to 2 % with a narrow interval.
    """
    bare = bare_stepper(job.trial, workload, job.rank, job.world_size) if bare_first else None
    training = build_training(job.trial, job.rank, job.world_size, job.rank)
    return training, bare or bare_stepper(job.trial, workload, job.rank, job.world_size)
