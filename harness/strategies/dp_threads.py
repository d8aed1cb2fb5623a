"""Data parallel in one process on CPU: a thread and a copy of the modules per replica, parameters shared."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

from harness.strategies import Place, Setting, Wrapped, register

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.strategies import Autocast, Batch, Loss, Scale


def _all_cores(devices: int, **_options: object) -> int:
    return devices


def _impossible(setting: Setting, **_options: object) -> str | None:
    if setting.kind == "cpu":
        return None
    return f"dp_threads is for CPU; on {setting.kind} `dp` does the same with a thread per device"


@register(
    "dp_threads",
    processes="one",
    min_devices=2,
    equivalence="reordered",
    splits_micro_batch=True,
    shares=_all_cores,
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html",
)
def dp_threads(model: nn.Module, place: Place) -> Wrapped:
    """One process, one single-threaded worker thread per share of the cores, gradients averaged by the main thread.

    What `dp` is on accelerators; PyTorch's own takes CPU device ids without a word and is the bare module there.
    Threads share the interpreter's lock: models of tiny operations are slower than in one thread. Parameters are
    shared, buffers are each replica's own (evaluation takes the first's). Dropout is not reproducible over threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    replicas = [model, *(copy.deepcopy(model, dict(shared)) for _ in range(place.devices - 1))]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    threads = [ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) for _ in replicas]
    ran: set[int] = set()

    def part(replica: nn.Module, batch: Batch, loss: Loss, scale: Scale, autocast: Autocast) -> Any:
        ran.add(threading.get_ident())
        with autocast():  # autocast is of a thread
            value = loss(replica, batch)
        return value.detach(), torch.autograd.grad(scale(value / len(replicas)), trained)

    def forward_backward(batch: Batch, loss: Loss, scale: Scale, autocast: Autocast) -> Tensor:
        parts = zip(*(tensor.chunk(len(replicas)) for tensor in batch), strict=True)
        running = [
            thread.submit(part, replica, share, loss, scale, autocast)
            for thread, replica, share in zip(threads, replicas, parts, strict=True)
        ]
        losses, gradients = zip(*(each.result() for each in running), strict=True)
        for parameter, *own in zip(trained, *gradients, strict=True):
            total = torch.stack(own).sum(dim=0) if len(own) > 2 else own[0].add_(own[1])
            parameter.grad = total if parameter.grad is None else parameter.grad.add_(total)
        return torch.stack(losses).mean()

    expected = {"wrapper": "none", "world_size": 1, "sharded": False, "replicas": place.devices}
    return Wrapped(
        model,
        expected=expected,
        forward_backward=forward_backward,
        observed=lambda: {"replicas": len(ran)},
        unseen="threads of one process share memory: nothing is sent",
        replicas=replicas[1:],
        untracked="PyTorch's memory tracker sees the tensors of one thread; the replicas' are made in others",
        blended="each replica runs its forward and backward pass in its own thread, at its own time",
    )
