"""Held-out evaluation, off the clock."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from harness.measure.training import Training
from harness.strategies import compilation

if TYPE_CHECKING:
    from harness.workloads import Batch

EVALUATION_BATCH = 64
STATISTICS_BATCHES = 8


def evaluate(training: Training, last: bool = False) -> dict[str, float]:
    """Held-out metrics by name with `eval_` before it: sum ÷ count over all held-out samples, and scores of all.

    last: no further evaluation follows. Then come the metrics that are too slow for more (see workloads.Predictions),
    and with `train_` before it the same metric of as many training samples: what held-out results fall behind it is
    the generalisation gap.
    Every rank evaluates all samples: sharded models need every rank in each forward pass, and no rank waits for
    another's share. Compiled code is left aside: shapes are others here, and compiling for them would take longer.
    Judged are the weights that recipe and optimizer are made to be judged by (see `Training.judged`).
    BatchNorm uses population statistics taken anew (see `population_statistics`).
    """
    workload = training.workload
    held_out = torch.arange(workload.held_out[0].shape[0])
    training.model.eval()
    aside = compilation.uncompiled()
    with torch.no_grad(), training.autocast(), aside, training.judged(), population_statistics(training):
        metrics = _prefixed("eval_", over_samples(training, workload.held_out, held_out, scores=last))
        if last:
            seen = some_of(workload.train[0].shape[0], len(held_out))
            metrics |= _prefixed("train_", over_samples(training, workload.train, seen, scores=False))
    training.model.train()
    return metrics


def over_samples(training: Training, data: Batch, samples: torch.Tensor, scores: bool) -> dict[str, float]:
    """The workload's metrics over these samples. scores: also those that are taken once only."""
    workload = training.workload
    size = min(EVALUATION_BATCH, training.trial.micro_batch)  # what fits in training fits here
    predictions = workload.predictions if workload.predictions and (scores or workload.predictions.always) else None
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    predicted = []
    for indices in torch.split(samples, size):
        batch = training.fetch(data, indices)
        for name, (total, count) in workload.evaluate(training.model, batch).items():
            sums[name] += float(total)
            counts[name] += count
        if predictions is not None:
            predicted.append(predictions.predict(training.model, batch))
    found = {name: sums[name] / counts[name] for name in sums}
    return found | (dict(predictions.score(predicted)) if predictions is not None else {})


def some_of(samples: int, count: int) -> torch.Tensor:
    """At most `count` indices, evenly over all samples: the same ones in every trial."""
    return torch.arange(samples) if samples <= count else torch.arange(count) * samples // count


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in metrics.items()}


@contextmanager
def population_statistics(training: Training) -> Iterator[None]:
    """BatchNorm's statistics over fixed training samples, as long as this is open; its running averages come back.

    Running averages are updated once per micro-batch a rank sees: two ranks take half as many updates per step as one
    process does, and the same weights would be judged differently after few steps. Taken anew from 512 fixed samples
    the held-out metric depends on the weights alone, whatever the strategy. Models without BatchNorm: nothing is done.
    Source: https://arxiv.org/abs/2105.07576 (PreciseBN)
    """
    norms = [module for module in training.plain.modules() if isinstance(module, _BatchNorm)]
    tracked = [norm for norm in norms if norm.track_running_stats]
    if not training.anywhere(bool(tracked)):  # a pipeline's stages take part even without a norm of their own
        yield
        return
    kept = [({name: buffer.clone() for name, buffer in norm.named_buffers()}, norm.momentum) for norm in tracked]
    for norm in tracked:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain average over all batches
        norm.train()
    _forward_over_training_data(training)
    for norm in tracked:
        norm.eval()
    yield
    for norm, (buffers, momentum) in zip(tracked, kept, strict=True):
        norm.momentum = momentum
        for name, buffer in norm.named_buffers():
            buffer.copy_(buffers[name])


def _forward_over_training_data(training: Training) -> None:
    train = training.workload.train
    chosen = some_of(train[0].shape[0], STATISTICS_BATCHES * EVALUATION_BATCH)
    batches = math.ceil(len(chosen) / EVALUATION_BATCH)
    for number in range(batches):
        training.workload.loss(training.model, training.fetch(train, chosen[number::batches]))
