"""Planted faults of data and randomness: a rank that repeats another's samples, masks that are equal on all ranks."""

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


@strategies.register("repeats", processes="per_device", min_devices=2, equivalence="reordered")
def repeats(model: Any, place: Place) -> Wrapped:
    """All ranks train on rank 0's samples."""
    import torch.distributed as dist

    wrapped = _ddp(model, place)

    def forward_backward(batch: Any, loss: Any, scale: Any, autocast: Any) -> Any:
        for tensor in batch:
            dist.broadcast(tensor, 0)
        with autocast():
            value = loss(wrapped.model, batch)
        scale(value).backward()
        return value.detach()

    return replace(wrapped, forward_backward=forward_backward)


@strategies.register("skips_one", processes="per_device", min_devices=2, equivalence="reordered")
def skips_one(model: Any, place: Place) -> Wrapped:
    """The all-reduce of one parameter, the last bias, is skipped."""
    from torch.nn.parallel import DistributedDataParallel

    last = [name for name, _parameter in model.named_parameters()][-1]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, [last])
    return _ddp(model, place)


@strategies.register("same_masks", processes="per_device", min_devices=2, equivalence="reordered")
def same_masks(model: Any, place: Place) -> Wrapped:
    """Every forward pass draws its dropout masks from the same seed on every rank."""
    import torch

    wrapped = _ddp(model, place)
    step = 0

    def seed(*_ignored: object) -> None:
        nonlocal step
        torch.manual_seed(step)
        step += 1

    wrapped.model.register_forward_pre_hook(seed)
    return wrapped


@strategies.register("hides_dropout", processes="one")
def hides_dropout(model: Any, place: Place) -> Wrapped:
    """Drops out with a rate that no module holds, where the model would."""
    from torch import nn
    from torch.nn import functional

    class Hidden(nn.Module):
        def forward(self, x: Any) -> Any:
            return functional.dropout(x, 0.1, self.training)

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, Hidden())
    return Wrapped(model)


@strategies.register("runs_out", processes="one")
def runs_out(model: Any, place: Place, *, step: int = 3) -> Wrapped:
    """The device's memory runs out in the forward pass of step `step`."""
    import torch

    calls = 0

    def take(*_ignored: object) -> None:
        nonlocal calls
        calls += 1
        if calls >= step:
            torch.empty(2**50, dtype=torch.uint8, device=place.device.torch_device)

    model.register_forward_pre_hook(take)
    return Wrapped(model)


Where = Literal["dies", "hangs"]


@strategies.register("in_collective", processes="per_device", min_devices=2, equivalence="reordered")
def in_collective(model: Any, place: Place, *, how: Where = "hangs", rank: int = 1, step: int = 3) -> Wrapped:
    """Rank `rank` dies or hangs in an all-reduce, in the backward pass of step `step`; the others wait in one."""
    import torch
    import torch.distributed as dist

    wrapped = _ddp(model, place)
    alone = dist.new_group(list(range(place.world_size)))
    buckets = 0

    def averaged(_state: object, bucket: dist.GradBucket):  # type: ignore[no-untyped-def]
        nonlocal buckets
        buckets += bucket.is_last()
        buffer = bucket.buffer().div_(place.world_size)
        if place.rank == rank and buckets == step:
            if how == "dies":
                dist.all_reduce(torch.ones(2**22, device=buffer.device), async_op=True, group=alone)
                os.kill(os.getpid(), signal.SIGKILL)
            dist.all_reduce(torch.ones(1, device=buffer.device), group=alone)  # nobody else ever comes
            place.device.synchronize()
        return dist.all_reduce(buffer, async_op=True).get_future().then(lambda future: future.value()[0])  # type: ignore[union-attr]

    wrapped.model.register_comm_hook(None, averaged)
    wrapped.expected.pop("gradient_compression")  # that the hook is seen is another test's matter
    return wrapped


@strategies.register("one_dies_one_sleeps", processes="per_device", min_devices=2, equivalence="reordered")
def one_dies_one_sleeps(model: Any, place: Place) -> Wrapped:
    """Rank 1 dies in the first forward pass, the others sleep in theirs."""
    wrapped = _ddp(model, place)

    def asleep(*_ignored: object) -> None:
        if place.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3600)

    wrapped.model.register_forward_pre_hook(asleep)
    return wrapped


@workloads.register(
    "noisy",
    sizes={"only": {}},
    unit="row",
    metric="error",
    better="lower",
    target=0.0,
    recipe=RECIPE,
    global_batch=8,
    micro_batch=4,
)
def noisy(size: str) -> workloads.Workload:
    """Noise is drawn in the loss: no rate of a module switches it off."""
    import torch
    from torch import nn

    rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))

    def loss(model: Any, batch: Any) -> Any:
        return model(batch[0] + 0.1 * torch.randn_like(batch[0])).square().mean()

    return workloads.Workload(
        build=lambda: nn.Linear(8, 1),
        train=(rows,),
        held_out=(rows[:32],),
        loss=loss,
        evaluate=lambda model, batch: {"error": (model(batch[0]).square().sum(), len(batch[0]))},
    )
