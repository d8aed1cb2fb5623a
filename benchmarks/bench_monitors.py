"""Each monitor's own overhead on a step: stretches with its hooks in the window and without, in turn in one process.

What stands beside the rounds as their anchor is the step without the monitor: two versions are compared by what the
monitor adds. `bench_observer` has all monitors together, with more rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_fidelity import interval
from benchmarks.conftest import Figure
from benchmarks.rounds import Arm, fresh_round, steps
from benchmarks.trials import planned
from harness.measure.anchor import Seconds
from harness.monitors import registry

if TYPE_CHECKING:
    from harness.measure.training import Training

GOAL = 1.01


def watched(training: Training, name: str) -> Mapping[str, Arm]:
    """Steps between the monitor's hooks, and steps alone. Its window is open all the time, as in a trial."""
    monitor = registry[name].function()
    monitor.window_begins(training)

    def turn() -> list[Seconds]:
        monitor.stretch_begins(training)
        laps = steps(training)
        monitor.stretch_ends(training)
        return laps

    return {"work": turn, "anchor": partial(steps, training)}


@pytest.mark.benchmark(group="step with one monitor")
@pytest.mark.parametrize("monitor", registry.names())
def bench_monitor(fresh_rounds: Callable[..., Any], figure: Figure, monitor: str) -> None:
    """Geometric mean over rounds, with its 95 % interval: met unless all of the interval is above the goal."""
    trial = planned("gpt", "single")
    found = fresh_rounds(lambda: fresh_round(trial, partial(watched, name=monitor)))
    logs = [math.log(each.work.cpu / each.anchor.cpu) for each in found]
    if len(logs) < 2:
        return
    ratio, note = math.exp(sum(logs) / len(logs)), interval(logs)
    most = GOAL if float(note.partition("[")[2].partition(",")[0]) > GOAL else math.inf
    figure(f"CPU of a step with monitor {monitor} ÷ without", ratio, f"<= {GOAL} within 95 %", 0, most, note)
