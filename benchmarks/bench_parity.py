"""Parity: every strategy in fp32 against one process over ten steps, loss and gradient norm, worst step of each cell.

ResNet's BatchNorm sees the same micro-batches in both ("ghost" batches). One thread everywhere: what differs is the
order of sums over ranks and micro-batches. A ResNet amplifies that when a unit is at the edge of its ReLU: with
accumulation a cell's gradient norm has been seen to differ by 1e-7 at eight steps and by 8e-4 at the tenth, its loss by
1e-7 at all of them.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.conftest import Figure
from benchmarks.every_cell import STEPS, execute, label, planned_cells
from harness.schema.record import Record, Status

GOAL = 1e-5


def worst(values: list[float], reference: list[float]) -> float:
    """Largest relative difference of the ten steps; infinite where one is missing."""
    if not len(values) == len(reference) == STEPS:
        return math.inf
    return max(abs(value - other) / abs(other) for value, other in zip(values, reference, strict=True))


def errors(record: Record) -> tuple[float, float]:
    """Of the loss and of the gradient norm."""
    parity = record.parity
    if record.status is not Status.OK or parity is None:
        return math.inf, math.inf
    return worst(parity.loss, parity.reference_loss), worst(parity.grad_norm, parity.reference_grad_norm)


@pytest.mark.parametrize("workload", ["gpt", "resnet"])
def bench_parity(benchmark: Any, figure: Figure, workload: str) -> None:
    """One row per cell: the larger of both errors over ten steps; the note has both, or why there is none."""
    trials = planned_cells(workload, steps=1, warmup_steps=STEPS, eval_every=0)
    records: list[Record] = []
    benchmark.pedantic(lambda: records.extend(execute(trial)[0] for trial in trials), rounds=1, iterations=1)
    for record in records:
        if record.parity is not None and record.parity.equivalence == "approximate":
            continue
        loss, norm = errors(record)
        note = (
            f"loss {loss:.1g}, gradient norm {norm:.1g}" if math.isfinite(loss) else f"{record.status} {record.reason}"
        )
        figure(f"parity, {label(record.trial)}", max(loss, norm), f"<= {GOAL:g}", 0, GOAL, note)
