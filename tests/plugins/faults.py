"""Planted faults: strategies and workloads that are wrong in one known way. Each must be caught."""

import os
import signal
import time
from dataclasses import replace
from typing import Any, Literal

from harness import strategies, workloads
from harness.schema.suite import Recipe
from harness.strategies import Place, Wrapped

RECIPE = Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.0, clip="off")


def _ddp(model: Any, place: Place) -> Wrapped:
    return strategies.registry["ddp"].function(model, place)


@strategies.register("summed", processes="per_device", min_devices=2, equivalence="reordered")
def summed(model: Any, place: Place) -> Wrapped:
    """DDP whose gradients are summed instead of averaged: under AdamW the loss hardly shows it."""
    import torch.distributed as dist

    wrapped = _ddp(model, place)

    def sum_only(_state: object, bucket: dist.GradBucket):  # type: ignore[no-untyped-def]
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda future: future.value()[0])  # type: ignore[union-attr]

    wrapped.model.register_comm_hook(None, sum_only)
    wrapped.expected.pop("gradient_compression")  # that the hook is seen is another test's matter
    return wrapped


@strategies.register("unreduced", processes="per_device", min_devices=2, equivalence="reordered")
def unreduced(model: Any, place: Place) -> Wrapped:
    """Ranks that never tell one another their gradients."""
    wrapped = _ddp(model, place)
    return replace(wrapped, sync=lambda _last: wrapped.model.no_sync())


@strategies.register("smuggled", processes="per_device", min_devices=2, equivalence="reordered")
def smuggled(model: Any, place: Place) -> Wrapped:
    """DDP that is right, but averages gradients in threads of its own, past whoever watches this one."""
    from concurrent.futures import ThreadPoolExecutor

    import torch
    import torch.distributed as dist

    wrapped = _ddp(model, place)
    thread = ThreadPoolExecutor(1)

    def elsewhere(_state: object, bucket: dist.GradBucket):  # type: ignore[no-untyped-def]
        gradients = bucket.buffer().div_(place.world_size)
        thread.submit(lambda: dist.group.WORLD.allreduce([gradients]).wait()).result()
        done: torch.futures.Future[Any] = torch.futures.Future()
        done.set_result(gradients)
        return done

    wrapped.model.register_comm_hook(None, elsewhere)
    wrapped.expected.pop("gradient_compression")
    return wrapped


@strategies.register("frozen", processes="one")
def frozen(model: Any, place: Place) -> Wrapped:
    """One layer does not learn."""
    next(model.parameters()).requires_grad_(False)
    return Wrapped(model)


@strategies.register("autocast_off", processes="one")
def autocast_off(model: Any, place: Place) -> Wrapped:
    """Takes the precision option and does nothing with it."""
    import torch

    forward = model.forward

    def full_precision(*inputs: Any) -> Any:
        with torch.autocast(place.device.kind, enabled=False):
            return forward(*inputs)

    model.forward = full_precision
    return Wrapped(model)


@strategies.register("not_sharded", processes="per_device", min_devices=2, equivalence="reordered")
def not_sharded(model: Any, place: Place) -> Wrapped:
    """Says it shards and is DDP."""
    return replace(_ddp(model, place), expected={"sharded": True, "wrapper": "FSDPModule"})


@strategies.register("zero_without", processes="per_device", min_devices=2, equivalence="reordered")
def zero_without(model: Any, place: Place) -> Wrapped:
    """Says it divides the optimizer's state and keeps all of it."""
    return replace(_ddp(model, place), expected={"optimizer_state_share": (0.0, 0.75)})


@strategies.register("uncompressed", processes="per_device", min_devices=2, equivalence="reordered")
def uncompressed(model: Any, place: Place) -> Wrapped:
    """Takes the compression option and does nothing with it."""
    return replace(_ddp(model, place), expected={"gradient_compression": "fp16"})


@strategies.register("one_thread", processes="one")
def one_thread(model: Any, place: Place) -> Wrapped:
    """Says it has two replicas and runs one after the other in the same thread."""
    return Wrapped(model, expected={"replicas": 2}, observed=lambda: {"replicas": 1})


How = Literal["raise", "kill", "hang", "memory", "exit"]


@strategies.register("ends_badly", processes="per_device", equivalence="reordered")
def ends_badly(model: Any, place: Place, *, how: How = "raise", rank: int = 0, step: int = 3) -> Wrapped:
    """Rank `rank` fails in the forward pass of step `step`, in the way asked for."""
    import torch

    wrapped = _ddp(model, place) if place.world_size > 1 else Wrapped(model)
    calls = 0

    def fail(*_ignored: object) -> None:
        nonlocal calls
        calls += 1
        if place.rank != rank or calls < step:
            return
        if how == "raise":
            raise ValueError("planted: the third step raises")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            os._exit(0)
        if how == "memory":
            torch.empty(2**50)
        time.sleep(3600)

    wrapped.model.register_forward_pre_hook(fail)
    return wrapped


def _workload(loss: Any, build: Any) -> workloads.Workload:
    import torch

    rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    return workloads.Workload(
        build=build,
        train=(rows,),
        held_out=(rows[:32],),
        loss=loss,
        evaluate=lambda model, batch: {"error": (model(batch[0]).square().sum(), len(batch[0]))},
    )


FACTS: dict[str, Any] = {
    "sizes": {"only": {}},
    "unit": "row",
    "metric": "error",
    "better": "lower",
    "target": 0.0,
    "recipe": RECIPE,
    "global_batch": 8,
    "micro_batch": 4,
}


@workloads.register("sleeper", **FACTS)
def sleeper(size: str, *, seconds: float = 0.02) -> workloads.Workload:
    """Each forward of a micro-batch takes a known time."""
    from torch import nn

    def loss(model: Any, batch: Any) -> Any:
        time.sleep(seconds)
        return model(batch[0]).square().mean()

    return _workload(loss, lambda: nn.Linear(8, 1))


@workloads.register("hoarder", **FACTS)
def hoarder(size: str, *, mebibytes: int = 64) -> workloads.Workload:
    """Each forward keeps one tensor of a known size for the backward pass, beside next to nothing."""
    import torch
    from torch import nn

    def loss(model: Any, batch: Any) -> Any:
        kept = torch.ones(mebibytes * 2**18)
        return model(batch[0]).square().mean() * kept[0]

    return _workload(loss, lambda: nn.Linear(8, 1))


@workloads.register("greedy", **FACTS)
def greedy(size: str, *, mebibytes: int = 16) -> workloads.Workload:
    """Each sample of a micro-batch keeps a tensor of a known size for the backward pass: what fits is known exactly."""
    import torch
    from torch import nn

    def loss(model: Any, batch: Any) -> Any:
        value = model(batch[0]).square().mean()
        kept = [torch.ones(mebibytes * 2**18) for _sample in batch[0]]
        return torch.stack([value * each[0] for each in kept]).mean()

    return _workload(loss, lambda: nn.Linear(8, 1))


@workloads.register("diverging", **FACTS)
def diverging(size: str, *, step: int = 9) -> workloads.Workload:
    """The loss is not a number from one step on."""
    from torch import nn

    calls = 0

    def loss(model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        factor = float("nan") if calls >= 2 * step - 1 else 1.0
        return model(batch[0]).square().mean() * factor

    return _workload(loss, lambda: nn.Linear(8, 1))


@workloads.register("normed", **FACTS)
def normed(size: str) -> workloads.Workload:
    """A model with BatchNorm."""
    from torch import nn

    def loss(model: Any, batch: Any) -> Any:
        return model(batch[0]).square().mean()

    return _workload(loss, lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)))


@workloads.register("kills_itself", **FACTS)
def kills_itself(size: str) -> workloads.Workload:
    """The process is gone in the first forward pass."""
    from torch import nn

    def loss(model: Any, batch: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    return _workload(loss, lambda: nn.Linear(8, 1))
