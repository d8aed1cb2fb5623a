"""Applied facts: what was asked, compared with what the live objects say while a real step runs.

A harness that believes its own options publishes AMP that is not on. Here each fact is read where it is true: the
type of a matrix product's result inside the forward pass, the parameters of a block after its forward, the threads
of the process. A fact that differs from what was asked ends the trial as NOT_APPLIED.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard
from torch.nn.parallel import DistributedDataParallel

from harness.measure.training import Training
from harness.schema.record import Applied
from harness.strategies.compilation import outside
from harness.strategies.techniques.channels_last import layout

MATRIX_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class NotApplied(Exception):
    """Something that was asked for is not there; carries all facts."""

    def __init__(self, facts: list[Applied]):
        self.facts = facts
        wrong = (f"{fact.fact}: asked {fact.asked}, found {fact.found}" for fact in facts if not fact.ok)
        super().__init__("; ".join(wrong))


@contextmanager
def watched_forward(training: Training) -> Iterator[dict[str, Any]]:
    """While this is open, forward passes write what they really do into the facts given.

    compute_dtype: type of the first matrix product's result; output_layout: how the first picture made by a convolution
    lies in memory; resharded_after_forward: whether the first block's parameters are divided again when the whole
    forward pass is over (None without sharded blocks). A hook in compiled code would be compiled with it: what runs
    there is read from its graph by the technique that compiles.
    """
    seen: dict[str, Any] = {}
    reachable = outside(training.plain)

    def product(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        seen.setdefault("compute_dtype", name_of(output.dtype))

    def picture(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        if layout(output) != "either":
            seen.setdefault("output_layout", layout(output))

    def whole(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        inner = [module for module in training.plain.modules() if module is not training.plain]
        blocks = [module for module in inner if isinstance(module, training.place.blocks)]
        if blocks and isinstance(blocks[0], FSDPModule):
            seen["resharded_after_forward"] = all(is_sharded(parameter) for parameter in blocks[0].parameters())

    hooks = [training.model.register_forward_hook(whole)]
    first = next((module for module in training.plain.modules() if isinstance(module, MATRIX_PRODUCTS)), None)
    if first in reachable:
        hooks.append(first.register_forward_hook(product))
    hooks += [module.register_forward_hook(picture) for module in reachable if isinstance(module, nn.Conv2d)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def live_facts(training: Training) -> dict[str, Any]:
    """Facts read from model, optimizer, scaler, process group and process as they are now."""
    parameters = list(training.model.parameters())
    local = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in parameters)
    group = training.optimizer.param_groups[0]
    return {
        "wrapper": wrapper_of(training.model),
        "world_size": dist.get_world_size() if dist.is_initialized() else 1,
        "backend": dist.get_backend() if dist.is_initialized() else "none",
        "parameter_dtype": "+".join(sorted({name_of(parameter.dtype) for parameter in parameters})),
        "optimizer_state_dtype": state_dtype(training.optimizer),
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "parameter_device": "+".join(sorted({parameter.device.type for parameter in parameters})),
        "sharded": any(is_sharded(parameter) for parameter in parameters),
        "local_share": local / max(training.parameters, 1),
        "loss_scaling": training.scaler.is_enabled(),
        "optimizer": type(plain_optimizer(training.optimizer)).__name__,
        "optimizer_state_share": state_share(training.optimizer, training.parameters),
        "gradient_compression": compression_of(training.model),
        "fused": bool(group.get("fused")),
        "foreach": group.get("foreach"),
        "replicas": len(training.model.device_ids) if isinstance(training.model, nn.DataParallel) else 1,
        **{fact: found for read in training.observed for fact, found in read().items()},
        "checkpointed_blocks": training.of_whole(_checkpointed(training.plain)),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def compare(expected: dict[str, Any], found: dict[str, Any]) -> list[Applied]:
    """Every fact found, with what was asked for it; a fact asked for and not found is wrong.

    A pair is a range, a list holds all that is right.
    """
    facts = []
    for fact in sorted(expected.keys() | found.keys()):
        asked, seen = expected.get(fact), found.get(fact)
        if isinstance(asked, tuple):
            low, high = asked
            ok = seen is not None and low <= seen <= high
            asked = f"{low:g} to {high:g}"
        elif isinstance(asked, list):
            ok = seen in asked
            asked = " or ".join(map(str, asked))
        else:
            ok = asked is None or asked == seen
        facts.append(Applied(fact=fact, asked=asked, found=seen, ok=ok))
    return facts


def check(expected: dict[str, Any], found: dict[str, Any]) -> list[Applied]:
    """`compare`, and raise NotApplied where a fact is not as asked."""
    facts = compare(expected, found)
    if not all(fact.ok for fact in facts):
        raise NotApplied(facts)
    return facts


def plain_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer that updates this rank's parameters: ZeRO's own is around it."""
    inner = getattr(optimizer, "optim", optimizer)
    return inner if isinstance(inner, torch.optim.Optimizer) else optimizer


def state_share(optimizer: torch.optim.Optimizer, parameters: int) -> float | None:
    """Numbers of optimizer state kept here ÷ those of an optimizer that keeps all; None before there is state.

    Scalars (step counts) are left out.
    """
    kept = [
        [value.to_local() if isinstance(value, DTensor) else value for value in state.values()]
        for state in plain_optimizer(optimizer).state.values()
    ]
    sizes = [
        [tensor.numel() for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.ndim] for tensors in kept
    ]
    per_parameter = max((len(numbers) for numbers in sizes), default=0)
    return sum(map(sum, sizes)) / (per_parameter * max(parameters, 1)) if per_parameter else None


def state_dtype(optimizer: torch.optim.Optimizer) -> str:
    """Types of what the optimizer keeps beside the parameters (scalars such as step counts left out), or none."""
    states = plain_optimizer(optimizer).state.values()
    kept = [value for state in states for value in state.values() if isinstance(value, torch.Tensor) and value.ndim]
    return "+".join(sorted({name_of(tensor.dtype) for tensor in kept})) or "none"


HOOKS = {"fp16_compress_hook": "fp16", "bf16_compress_hook": "bf16", "powerSGD_hook": "powersgd"}


def compression_of(model: nn.Module) -> str:
    """What DDP's reducer says of its communication hook."""
    if not isinstance(model, DistributedDataParallel):
        return "none"
    hook = str(model._get_ddp_logging_data().get("comm_hook", ""))  # type: ignore[no-untyped-call]
    return next((name for known, name in HOOKS.items() if known in hook), hook or "none")


def wrapper_of(model: nn.Module) -> str:
    """Name of what the strategy wrapped the model in."""
    if isinstance(model, FSDPModule):
        return "FSDPModule"
    known = isinstance(model, (DistributedDataParallel, nn.DataParallel))
    return type(model).__name__ if known else "none"


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether the tensor is divided among ranks."""
    return isinstance(parameter, DTensor) and any(isinstance(placed, Shard) for placed in parameter.placements)


def name_of(dtype: torch.dtype) -> str:
    """`bfloat16` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def _checkpointed(model: nn.Module) -> int:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper

    return sum(isinstance(module, CheckpointWrapper) for module in model.modules())
