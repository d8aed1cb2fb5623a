"""One training step of every registered strategy, on two ranks where it needs them, for pytest-benchmark.

The step is the harness's own and runs in worker processes; each round is of fresh ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.every_cell import GLOBAL_BATCH, machine
from benchmarks.rounds import Arm, fresh_round, steps
from harness.run.plan import make_plan
from harness.schema.suite import Suite
from harness.schema.trial import Trial
from harness.strategies import registry

if TYPE_CHECKING:
    from harness.measure.training import Training


def training_step(training: Training) -> Mapping[str, Arm]:
    """What each rank does."""
    return {"work": partial(steps, training)}


def planned(workload: str, strategy: str, **fixed: Any) -> Trial:
    """The strategy with its defaults on two devices, or the fewest that it can have; skipped where this machine cannot.

    fixed: further keys of a suite.
    """
    whole, devices = GLOBAL_BATCH[workload], max(2, registry[strategy].facts.min_devices)
    common = {"workload": workload, "size": "nano", "device": "cpu", "global_batch": whole, "devices": devices}
    suite: dict[str, Any] = {
        "question": "Figures of the harness",
        "fixed": {**common, "micro_batch": whole // devices, **fixed},
        "include": [{"strategy": strategy}],
        "budget": {"repeats": 1},
    }
    if devices > len(machine().cores):
        pytest.skip(
            f"{strategy} needs {devices} devices, here are {len(machine().cores)} cores: they would wait in turn"
        )
    plan = make_plan(Suite.model_validate(suite), machine())
    if not plan.trials:
        pytest.skip(plan.unsupported[0][1])
    return plan.trials[0]


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("strategy", registry.names())
@pytest.mark.parametrize("workload", list(GLOBAL_BATCH))
def bench_step(fresh_rounds: Callable[..., Any], workload: str, strategy: str) -> None:
    """Seconds of a step of the slowest rank."""
    trial = planned(workload, strategy)
    fresh_rounds(lambda: fresh_round(trial, training_step))
