"""Collectives that this process starts, watched as they pass PyTorch's dispatcher. Loads torch: children only.

Sources: https://docs.pytorch.org/docs/stable/distributed.html (collectives),
https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (what a collective's size is)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

NAMESPACES = ("c10d", "_c10d_functional")
SILENT = ("wait_tensor", "_wrap_tensor_autograd", "monitored_barrier_", "check_for_nan")
"""Operations of these namespaces that are no collectives of their own."""
WITHOUT_PAYLOAD = ("barrier",)
NAMES = {
    "all_reduce": ("allreduce_", "allreduce_coalesced_", "all_reduce_", "all_reduce_coalesced"),
    "all_gather": (
        *("allgather_", "_allgather_base_", "allgather_coalesced_", "allgather_into_tensor_coalesced_"),
        *("all_gather_into_tensor", "all_gather_into_tensor_out", "all_gather_into_tensor_coalesced"),
    ),
    "reduce_scatter": (
        *("reduce_scatter_", "_reduce_scatter_base_", "reduce_scatter_tensor_coalesced_"),
        *("reduce_scatter_tensor", "reduce_scatter_tensor_out", "reduce_scatter_tensor_coalesced"),
    ),
    "all_to_all": ("alltoall_", "alltoall_base_", "all_to_all_single"),
    "send": ("send", "isend"),
    "receive": ("recv_", "recv_any_source_", "irecv"),
}
"""Collective → PyTorch's operations that are it; others are called as PyTorch does (`broadcast`, `reduce`, …)."""
CALLED = {operation: name for name, operations in NAMES.items() for operation in operations}
NOT_NUMBERED = ("send", "receive")
"""Process groups number their collectives, point-to-point messages not always."""
FUNCTIONS = ("all_reduce", "broadcast", "reduce", "all_gather", "all_gather_into_tensor", "reduce_scatter_tensor")
"""Functions of torch.distributed that callbacks may call in threads of the backend's."""


@dataclass
class Seen:
    """What passed. bytes_: payload by collective; calls: how often; unseen: collectives that did not pass here."""

    bytes_: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    unseen: int = 0


@contextmanager
def watched_collectives() -> Iterator[Seen]:
    """While this is open, every collective of this process is counted, with the bytes of its payload on this rank.

        payload = numel × element size of the larger of what goes in and what comes out

    An all-reduce or broadcast carries its tensor, an all-gather the whole that results, a reduce-scatter the whole that
    goes in. What travels over a wire depends on the algorithm (a ring's all-reduce: 2 (n − 1) ÷ n of it) and is not it.

    The dispatcher's mode is of one thread (and of autograd's). Callbacks that communicate run in threads of the
    backend: functions of torch.distributed take the mode along there. What is missed even so shows in the process
    groups' own numbers, and is `unseen` when this is closed.
    """
    seen = Seen()
    before = _numbers()
    with _in_all_threads(seen), _Watch(seen):
        yield seen
    # A group made in here starts at nought.
    started = sum(number - before.get(group, 0) for group, number in _numbers().items())
    counted = sum(calls for name, calls in seen.calls.items() if name not in NOT_NUMBERED)
    seen.unseen = max(0, started - counted)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the collectives of this thread."""

    def __init__(self, seen: Seen):
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # let it take itself apart first: its collectives would pass while this is at rest
        result = func(*args, **(kwargs or {}))
        if getattr(func, "namespace", "") in NAMESPACES:
            operation = func._schema.name.partition("::")[2]
            if operation not in SILENT:
                name = CALLED.get(operation, operation.strip("_"))
                self.seen.calls[name] += 1
                if name not in WITHOUT_PAYLOAD:
                    self.seen.bytes_[name] += max(map(_bytes, (*args, *(kwargs or {}).values(), result)))
        return result


def _bytes(argument: Any) -> int:
    """Bytes of all tensors in an argument or result, each once: some operations return what they were given."""
    tensors = {id(leaf): leaf for leaf in tree_leaves(argument) if isinstance(leaf, torch.Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


@contextmanager
def _in_all_threads(seen: Seen) -> Iterator[None]:
    originals = {name: getattr(dist, name) for name in FUNCTIONS}

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if any(isinstance(mode, _Watch) for mode in _get_current_dispatch_mode_stack()):
                return function(*args, **kwargs)
            with _Watch(seen):
                return function(*args, **kwargs)

        return call

    for name, function in originals.items():
        setattr(dist, name, watched(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(dist, name, function)


def _numbers() -> dict[str, int]:
    """Of each process group the number of its last collective; groups that do not number theirs are left out."""
    if not dist.is_initialized():
        return {}
    numbers = {}
    for group in dist.distributed_c10d._world.pg_map:
        try:
            numbers[str(group.group_name)] = int(group._get_sequence_number_for_group())  # type: ignore[attr-defined]
        except RuntimeError:
            continue
    return numbers
