"""Memory as predicted against memory as measured: every strategy, in all and by kind.

Predicted is from shapes and the strategy's rule (`harness/predict`), measured by the memory monitor in a trial of its
own. Where a kind is told apart at another moment (two moments that hold as much), its note says so: the peak is what
must agree.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.every_cell import label, planned_cells
from benchmarks.trials import run
from harness.predict.answers import answers_of
from harness.schema.prediction import KINDS, Prediction
from harness.schema.trial import Trial

MEBIBYTE = 2**20
SHORT = {"steps": 2, "warmup_steps": 2, "parity_steps": 1, "eval_every": 0}
"""Memory is the same after any number of steps from the second on."""
LEAST = 0.002
"""Share of the peak below which a difference is none: batch indices, the loss, step counts."""
WITHIN = {"parameters": 0.02, "gradients": 0.02, "optimizer": 0.02, "activations": 0.1, "other": 0.1}


@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_predict(benchmark: Any, figure: Figure, workload: str) -> None:
    """One row per cell."""
    trials = [trial.model_copy(update=SHORT) for trial in planned_cells(workload)]
    found: list[dict[str, float]] = []
    benchmark.pedantic(lambda: found.extend(run(trial).metrics for trial in trials), rounds=1, iterations=1)
    for trial, prediction, measured in zip(trials, answers_of(trials), found, strict=True):
        row(figure, trial, prediction, measured)


def row(figure: Figure, trial: Trial, prediction: Prediction, measured: dict[str, float]) -> None:
    """A cell's figure; none where it has no prediction or was not measured, which it says itself."""
    if not prediction.sizes or "peak_allocated_bytes" not in measured:
        return
    peak = measured["peak_allocated_bytes"]
    apart = [
        f"{kind} {prediction.sizes[kind] / MEBIBYTE:.3f} for {measured[f'memory_{kind}_bytes'] / MEBIBYTE:.3f}"
        for kind in KINDS
        if abs(prediction.sizes[kind] - measured[f"memory_{kind}_bytes"])
        > max(WITHIN[kind] * prediction.sizes[kind], LEAST * peak)
    ]
    note = f"{prediction.total / MEBIBYTE:.3f} MiB for {peak / MEBIBYTE:.3f}; {', '.join(apart) or 'each kind too'}"
    figure(f"memory predicted ÷ measured, {label(trial)}", prediction.total / peak, "0.98 to 1.02", 0.98, 1.02, note)
