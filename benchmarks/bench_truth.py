"""Truth of the figures: a step of known time, a tensor of known size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.trials import planned, run
from harness.schema.registry import load_plugin
from harness.schema.trial import Plugin

FAULTS = Path(__file__).parent.parent / "tests" / "plugins" / "faults.py"
SLEEP_S = 0.02


def known(workload: dict[str, object], strategy: str, **changes: Any) -> Any:
    """A trial of a workload whose figures are known beforehand."""
    plugin = Plugin(path=str(FAULTS), sha256=load_plugin(FAULTS))
    from harness.workloads import registry

    recipe = registry[str(workload["name"])].facts.recipe
    accumulation = 2 if strategy == "single" else 1
    asked = {"workload": workload, "size": "only", "recipe": recipe, "global_batch": 8, "micro_batch": 4}
    return planned("gpt", strategy, **{**asked, "accumulation": accumulation, "plugins": (plugin,), **changes})


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def bench_rate(benchmark: Any, figure: Figure, strategy: str) -> None:
    """samples/s ÷ (samples ÷ outer wall clock of the window, computed from the known step)."""
    trial = known({"name": "sleeper", "seconds": SLEEP_S}, strategy, steps=50, warmup_steps=5, eval_every=0)
    found: list[float] = []

    def one() -> None:
        began = time.monotonic()
        short = run(trial.model_copy(update={"steps": 5}))
        middle = time.monotonic()
        long = run(trial)
        outer_s = (time.monotonic() - middle) - (middle - began)
        samples = long.metrics["window_samples"] - short.metrics["window_samples"]
        found.append(long.metrics["samples_per_s"] / (samples / outer_s))

    benchmark.pedantic(one, rounds=3, iterations=1)
    note = "outer clock: a trial of 50 steps minus one of 5"
    ranks = trial.processes
    figure(f"rate ÷ outer wall clock, {ranks} rank(s)", sorted(found)[1], "0.98 to 1.02", 0.98, 1.02, note)


def bench_memory(benchmark: Any, figure: Figure) -> None:
    """Measured peak ÷ known peak: a tensor of 128 MiB kept for the backward pass."""
    changes = {"global_batch": 4, "accumulation": 1, "steps": 1, "warmup_steps": 5}
    trial = known({"name": "hoarder", "mebibytes": 128}, "single", **changes)
    record = benchmark.pedantic(lambda: run(trial), rounds=1, iterations=1)
    ratio = record.metrics["peak_allocated_bytes"] / (128 * 2**20)
    figure("peak bytes ÷ known bytes", ratio, "0.95 to 1.05", 0.95, 1.05)
