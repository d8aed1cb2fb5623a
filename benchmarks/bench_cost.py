"""What a trial costs beside its training: CPU of its processes and of the parent, and the time to the first step."""

from __future__ import annotations

import resource
import statistics
from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.trials import planned, run
from harness.schema.record import Record

TRIALS = 7


def parent_cpu_s() -> float:
    """CPU seconds of this process until now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def bench_cpu_of_a_trial(benchmark: Any, figure: Figure) -> None:
    """CPU seconds of a 30-step trial of one process minus its timed, warm-up, parity and evaluation steps."""
    run(planned("gpt", "single"))
    records: list[Record] = []
    parent: list[float] = []

    def one() -> None:
        began = parent_cpu_s()
        records.append(run(planned("gpt", "single", repeat=len(records))))
        parent.append(parent_cpu_s() - began)

    benchmark.pedantic(one, rounds=TRIALS, iterations=1)
    tracked, later = records[0], [record.metrics["harness_cpu_s"] for record in records[1:]]
    first = tracked.metrics["harness_cpu_s"]
    figure("CPU s of a trial beside training, first round", first, "<= 0.5", 0, 0.5, "memory followed by kind")
    figure("CPU s of a trial beside training, later rounds", statistics.median(later), "<= 0.5", 0, 0.5)
    figure("CPU s of the parent per trial", statistics.median(parent), "<= 0.1", 0, 0.1)


@pytest.mark.parametrize(("strategy", "goal"), [("single", 0.2), ("ddp", 0.4)])
def bench_first_step(benchmark: Any, figure: Figure, strategy: str, goal: float) -> None:
    """Seconds from the start of a trial to the end of its first step, building the model included."""
    run(planned("gpt", strategy))
    seconds: list[float] = []

    def one() -> None:
        seconds.append(run(planned("gpt", strategy, repeat=1)).metrics["first_step_s"])

    benchmark.pedantic(one, rounds=TRIALS, iterations=1)
    figure(f"s to the end of the first step, gpt/nano {strategy}", statistics.median(seconds), f"<= {goal}", 0, goal)
