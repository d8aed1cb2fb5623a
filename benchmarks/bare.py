"""A training loop as one would write it by hand, without the harness: what the harness's figures are held against.

Only the model, the loss and the indices of the samples are shared with the harness; optimizer, wrapping, clipping and
timing are written out here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from harness.schema.suite import Choice
from harness.schema.trial import Trial
from harness.workloads import Workload
from harness.workloads.order import micro_batches, sample_indices


def wrap(model: nn.Module, strategy: Choice, world_size: int, blocks: tuple[type[nn.Module], ...]) -> nn.Module:
    """The strategy, from PyTorch's documentation."""
    if strategy.name in ("ddp", "zero1"):
        return DistributedDataParallel(model)
    if strategy.name == "fsdp":
        mesh = init_device_mesh("cpu", (world_size,))
        for module in reversed(list(model.modules())):
            if isinstance(module, blocks):
                fully_shard(module, mesh=mesh, **strategy.options)
        fully_shard(model, mesh=mesh, **strategy.options)
    return model


def adamw(model: nn.Module, strategy: Choice, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, its state divided among the ranks for zero1."""
    parameters = groups(model, weight_decay)
    if strategy.name == "zero1":
        return ZeroRedundancyOptimizer(parameters, optimizer_class=torch.optim.AdamW, lr=lr)  # type: ignore[arg-type]
    return torch.optim.AdamW(parameters, lr=lr)


def groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """No weight decay on norms and biases."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    rest = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def timed(step: Callable[[], None], count: int) -> list[float]:
    """Seconds of each of `count` steps, clock to clock: what a step leaves to be freed at its end is part of it."""
    stamps = [time.perf_counter()]
    for _ in range(count):
        step()
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]


def bare_stepper(trial: Trial, workload: Workload, rank: int, world_size: int) -> tuple[Callable[[], None], nn.Module]:
    """Return a function that trains one optimizer step, and the model that it trains."""
    torch.manual_seed(trial.seed)
    model = wrap(workload.build(), trial.strategy, world_size, workload.blocks)
    recipe = trial.recipe
    assert recipe.lr is not None
    optimizer = adamw(model, trial.strategy, recipe.lr, recipe.weight_decay or 0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    samples, step = workload.train[0].shape[0], 0

    def train() -> None:
        nonlocal step
        indices = sample_indices(trial.seed, step, trial.global_batch, samples)
        parts = micro_batches(indices, rank, world_size, trial.micro_batch)
        for part in parts:
            chosen = torch.from_numpy(part)
            loss = workload.loss(model, tuple(tensor[chosen] for tensor in workload.train))
            (loss / len(parts)).backward()
        if recipe.clips:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1

    return train, model
