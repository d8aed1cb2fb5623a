"""Held-out evaluation, off the clock."""

from __future__ import annotations

from collections import defaultdict

import torch

from harness.measure.training import Training

EVALUATION_BATCH = 64


def evaluate(training: Training) -> dict[str, float]:
    """Held-out metrics by name with `eval_` before it: sum ÷ count over all held-out samples.

    Every rank evaluates all samples: sharded models need every rank in each forward pass, and no rank waits for
    another's share. BatchNorm statistics are each rank's own; rank 0's result is the one that is kept.
    """
    workload = training.workload
    samples = workload.held_out[0].shape[0]
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    training.model.eval()
    with torch.no_grad(), training.autocast():
        for first in range(0, samples, EVALUATION_BATCH):
            indices = torch.arange(first, min(first + EVALUATION_BATCH, samples))
            batch = training.fetch(workload.held_out, indices)
            for name, (total, count) in workload.evaluate(training.model, batch).items():
                sums[name] += float(total)
                counts[name] += count
    training.model.train()
    return {f"eval_{name}": sums[name] / counts[name] for name in sums}
