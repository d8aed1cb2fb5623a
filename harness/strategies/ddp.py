"""`DistributedDataParallel`: a copy per rank, gradients averaged in buckets while the backward pass goes on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from harness.strategies import Place, Wrapped, register

if TYPE_CHECKING:
    from torch import nn


@register(
    "ddp",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    source="https://arxiv.org/abs/2006.15704",
)
def ddp(
    model: nn.Module,
    place: Place,
    *,
    bucket_cap_mb: float = 25.0,
    gradient_as_bucket_view: bool = False,
    static_graph: bool = False,
) -> Wrapped:
    """A copy of the model per rank; gradients are averaged in buckets, overlapped with the backward pass.

    bucket_cap_mb: MiB of gradients per all-reduce; gradient_as_bucket_view: gradients live in the buckets, which
    saves a copy of them; static_graph: the same parameters take part in every step.
    With accumulation only the last micro-batch communicates (`no_sync`).
    """
    from torch.nn.parallel import DistributedDataParallel

    accelerator = place.device.kind != "cpu"
    wrapped = DistributedDataParallel(
        model,
        device_ids=[place.device.index] if accelerator else None,
        bucket_cap_mb=bucket_cap_mb,
        gradient_as_bucket_view=gradient_as_bucket_view,
        static_graph=static_graph,
    )
    learned = not static_graph

    def sync(last: bool) -> AbstractContextManager[Any]:
        nonlocal learned
        # A static graph is learned in the first backward pass, which has to communicate.
        local = learned and not last
        learned = True
        return wrapped.no_sync() if local else nullcontext()

    expected = {"wrapper": "DistributedDataParallel", "world_size": place.world_size, "sharded": False}
    return Wrapped(wrapped, sync, expected)
