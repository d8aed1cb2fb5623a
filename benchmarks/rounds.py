"""Rounds for the benchmarks: fresh processes in which a piece of a trial's work and the anchor take turns."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.trials import CORES
from harness.measure.anchor import Round, Seconds, anchor, small_step
from harness.run.executors import local
from harness.run.executors.forkserver import start
from harness.schema.trial import Trial

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from harness.measure.job import Job
    from harness.measure.training import Training
    from harness.schema.record import RankResult

WARMUP, BLOCKS = 2, 6
"""Turns of each arm that are not counted, and that are."""
BLOCK = 3
"""Laps of a turn."""
ARMS = ("work", "anchor")
Arm = Callable[[], list[Seconds]]
"""One turn: seconds of each lap."""
Work = Callable[["Training"], Mapping[str, Arm]]
"""An importable function that runs in each rank, given what it trains; an arm `anchor` of its own is taken instead."""


def fresh_round(trial: Trial, work: Work) -> Round:
    """One round: wall seconds are those of the slowest rank, CPU seconds the sum over ranks, medians over laps.

    Raises AssertionError with a rank's last words where one did not end well.
    """
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
    processes: list[ForkServerProcess] = []
    try:
        for job in local.jobs(trial, CORES, folder):
            processes.append(start(rank, job.model_dump_json(), work))
        local.wait(processes, time.monotonic() + trial.timeout_s)
        killed = local.end(processes, stacks=False)
        for number, process in enumerate(processes):
            left = local.left_behind(folder, number, process.exitcode, process in killed)
            assert process.exitcode == 0, f"rank {number}: {left.error or left.stderr_tail[-500:] or left.signal}"
        told = [json.loads(path.read_text()) for path in sorted(folder.glob("turns-*.json"))]
    finally:
        local.end(processes, stacks=False)
        shutil.rmtree(folder, ignore_errors=True)
    found = {arm: [Seconds(*each[arm]) for each in told] for arm in ARMS}
    return Round(**{arm: Seconds(max(e.wall for e in each), sum(e.cpu for e in each)) for arm, each in found.items()})


def rank(job_json: str, work: Work) -> None:
    """Run one rank to its end; never returns."""
    from harness.measure.entry import die_with_parent
    from harness.measure.worker import run

    die_with_parent()
    run(job_json, partial(take_turns, work=work))


def take_turns(job: Job, _result: RankResult, *, work: Work) -> None:
    """Build the training, let the arms take turns, and leave the medians of each as `turns-RANK.json`."""
    from harness.measure.training import build_training

    training = build_training(job.trial, job.rank, job.world_size, job.local_rank)
    arms = {"anchor": partial(anchor, BLOCK, small_step()), **work(training)}
    draw = random.Random(job.folder)  # the same on every rank
    found: dict[str, list[Seconds]] = {arm: [] for arm in ARMS}
    for number in range(WARMUP + BLOCKS):
        for arm in draw.sample(ARMS, len(ARMS)):
            laps = arms[arm]()
            if number >= WARMUP:
                found[arm] += laps
    medians = {
        arm: (statistics.median(lap.wall for lap in laps), statistics.median(lap.cpu for lap in laps))
        for arm, laps in found.items()
    }
    Path(job.folder, f"turns-{job.rank}.json").write_text(json.dumps(medians))


def steps(training: Training) -> list[Seconds]:
    """A turn of training steps, by the harness's own loop: all ranks begin together."""
    from harness.measure.loop import run_laps

    laps = run_laps(training, BLOCK)
    return [Seconds(*each) for each in zip(laps.step_s, laps.cpu_s, strict=True)]
