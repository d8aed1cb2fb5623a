"""`DistributedDataParallel`: a copy per rank, gradients averaged in buckets while the backward pass goes on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.strategies import Holding, Place, Setting, Unpredicted, Wrapped, register

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

Compression = Literal["none", "fp16", "bf16", "powersgd"]


def _impossible(setting: Setting, *, compress: str = "none", **_options: object) -> str | None:
    if compress == "bf16" and setting.kind != "cuda":
        return f"DDP refuses PyTorch's bf16 hook without NCCL on CUDA devices; this device is {setting.kind}"
    return None


def _holds(
    _model: nn.Module,
    _place: Place,
    *,
    gradient_as_bucket_view: bool = False,
    compress: str = "none",
    **_options: object,
) -> Holding:
    if compress != "none":
        raise Unpredicted(f"what compress = {compress} keeps beside the buckets is not stated")
    return Holding(buckets="hold" if gradient_as_bucket_view else "beside")


@register(
    "ddp",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    impossible=_impossible,
    holds=_holds,
    source="https://arxiv.org/abs/2006.15704",
)
def ddp(
    model: nn.Module,
    place: Place,
    *,
    bucket_cap_mb: Annotated[float, Field(gt=0)] = 25.0,
    gradient_as_bucket_view: bool = False,
    static_graph: bool = False,
    compress: Compression = "none",
    powersgd_rank: Annotated[int, Field(ge=1)] = 2,
) -> Wrapped:
    """A copy of the model per rank; gradients are averaged in buckets, overlapped with the backward pass.

    bucket_cap_mb: MiB of gradients per all-reduce; gradient_as_bucket_view: gradients live in the buckets, which
    saves a copy of them; static_graph: the same parameters take part in every step; compress: what travels in place
    of fp32 gradients (half the bytes, or PowerSGD's low-rank factors of rank `powersgd_rank`, from the third step on).
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
    _compress(wrapped, compress, powersgd_rank)
    learned = not static_graph

    def sync(last: bool) -> AbstractContextManager[Any]:
        nonlocal learned
        # A static graph is learned in the first backward pass, which has to communicate.
        local = learned and not last
        learned = True
        return wrapped.no_sync() if local else nullcontext()

    expected = {"wrapper": "DistributedDataParallel", "world_size": place.world_size, "sharded": False}
    expected["gradient_compression"] = compress
    return Wrapped(wrapped, sync, expected, equivalence=None if compress == "none" else "approximate")


POWERSGD_START = 2
"""The earliest step PyTorch allows: parity looks at the first steps, and must see the compression."""


def _compress(wrapped: DistributedDataParallel, compress: Compression, rank: int) -> None:
    """Register PyTorch's hook. Source: https://docs.pytorch.org/docs/stable/ddp_comm_hooks.html"""
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

    if compress == "fp16":
        wrapped.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif compress == "bf16":
        wrapped.register_comm_hook(None, default_hooks.bf16_compress_hook)
    elif compress == "powersgd":
        state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=rank, start_powerSGD_iter=POWERSGD_START, min_compression_rate=1
        )
        wrapped.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
