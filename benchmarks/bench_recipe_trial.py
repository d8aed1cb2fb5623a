"""What a trial of a recipe costs: CPU of the whole trial against a loop by hand that trains and evaluates as often.

The trial does more: it checks what is applied, compares its first steps, waits for steady steps, watches. Over a run
that is long enough to learn something this must hardly show. CPU seconds, not wall: other work takes no part.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.trials import CORES, planned
from harness.run.executors import local
from harness.run.executors.forkserver import start
from harness.schema.trial import Trial

PAIRS = 3
STEPS, WARMUP, EVERY = 400, 10, 40


def written_by_hand(job_json: str, out: str) -> None:
    """In a child: build, train and evaluate; leave the CPU seconds of this process. As short as one would write it."""
    import os

    import torch

    from benchmarks.bare import bare_stepper
    from harness.measure.job import Job
    from harness.workloads import registry

    job = Job.model_validate_json(job_json)
    os.sched_setaffinity(0, job.cores)
    torch.set_num_threads(job.threads)
    began = time.process_time()
    trial = job.trial
    workload = registry[trial.workload.name].function(trial.size)
    step, model = bare_stepper(trial, workload, 0, 1)
    for number in range(1, WARMUP + STEPS + 1):
        step()
        if number % EVERY == 0 or number == WARMUP + STEPS:
            model.eval()
            with torch.no_grad():
                for first in range(0, len(workload.held_out[0]), trial.micro_batch):
                    workload.evaluate(
                        model, tuple(part[first : first + trial.micro_batch] for part in workload.held_out)
                    )
            model.train()
    Path(out).write_text(json.dumps(time.process_time() - began))


def cpu_s(trial: Trial, hand: bool) -> float:
    """CPU seconds of the process, from before the workload is built to its end."""
    if not hand:
        done = local.execute(trial, CORES)
        marks = done.ranks[0].cpu_marks
        return float(marks["extra"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cpu.json"
        child = start(written_by_hand, local.jobs(trial, CORES, Path(folder))[0].model_dump_json(), str(out))
        child.join()
        return float(json.loads(out.read_text()))


@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_recipe_trial(benchmark: Any, figure: Figure, workload: str) -> None:
    """CPU of a 400-step trial of size micro with evaluations ÷ that of a loop written by hand."""
    trial = planned(
        workload, "single", size="micro", steps=STEPS, warmup_steps=WARMUP, eval_every=EVERY, timeout_s=900.0
    )
    ratios: list[float] = []

    def pair() -> None:
        order = [True, False] if len(ratios) % 2 else [False, True]
        found = {hand: cpu_s(trial.model_copy(update={"repeat": len(ratios)}), hand) for hand in order}
        ratios.append(found[False] / found[True])

    benchmark.pedantic(pair, rounds=PAIRS, iterations=1)
    figure(
        f"CPU of a trial ÷ a loop by hand, {workload}/micro, {STEPS} steps",
        statistics.median(ratios),
        "<= 1.03",
        0,
        1.03,
    )
