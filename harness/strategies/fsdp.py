"""FSDP2 `fully_shard`: parameters, gradients and optimizer state are divided among the ranks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from harness.strategies import Holding, Place, Setting, Wrapped, register
from harness.strategies.meta_init import materialise, on_meta

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

MixedPrecision = Literal["none", "bf16"]


def mixed_precision_impossible(setting: Setting, *, mixed_precision: str = "none", **_options: object) -> str | None:
    """Why FSDP2's own mixed precision cannot be had in that setting, or None."""
    if mixed_precision == "none":
        return None
    if setting.precision != "fp32":
        return f'mixed_precision = "bf16" computes in bfloat16 itself: with precision fp32, not {setting.precision}'
    if "batchnorm" in setting.model.traits:
        return (
            "FSDP2's bf16 policy casts weights and inputs of BatchNorm and leaves its running averages in fp32, which "
            'PyTorch refuses to mix: precision = "bf16" (autocast) does the same work'
        )
    return None


def _computes_in(*, mixed_precision: str = "none", **_options: object) -> str | None:
    return None if mixed_precision == "none" else mixed_precision


def _built_on_meta(*, meta_init: bool = False, **_options: object) -> bool:
    return meta_init


def _impossible(setting: Setting, *, meta_init: bool = False, cpu_offload: bool = False, **options: Any) -> str | None:
    if meta_init and cpu_offload and setting.kind != "cpu":
        return f"meta_init sends weights to where parameters are, and nothing is sent to host memory on {setting.kind}"
    return mixed_precision_impossible(setting, **options)


def holds_parts(
    parts: int, *, reshard_after_forward: bool = True, cpu_offload: bool = False, mixed_precision: str = "none"
) -> Holding:
    """What a rank keeps where each parameter's rows are divided among so many ranks."""
    gathered_dtype = "bfloat16" if mixed_precision == "bf16" else None
    return Holding(
        parts=parts, reshards=reshard_after_forward, gathered_dtype=gathered_dtype, in_host_memory=cpu_offload
    )


def _holds(_model: nn.Module, place: Place, *, meta_init: bool = False, **options: Any) -> Holding:
    return holds_parts(place.world_size, **options)  # meta_init: once it is built, the model is the same


@register(
    "fsdp",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    builds_on_meta=_built_on_meta,
    impossible=_impossible,
    computes_in=_computes_in,
    updates="sharded",
    holds=_holds,
    source="https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
)
def fsdp(
    model: nn.Module,
    place: Place,
    *,
    reshard_after_forward: bool = True,
    cpu_offload: bool = False,
    meta_init: bool = False,
    mixed_precision: MixedPrecision = "none",
) -> Wrapped:
    """Parameters, gradients and optimizer state divided among the ranks; each block is gathered when it is needed.

    reshard_after_forward: True frees a block's gathered parameters after its forward pass and gathers them again for
    the backward pass (ZeRO-3); False keeps them (ZeRO-2): more memory, less communication; cpu_offload: the divided
    parameters, gradients and optimizer state stay in host memory and the optimizer runs there; meta_init: the model is
    built without memory and divided before it gets any; only rank 0 ever holds all initial weights, and sends them;
    mixed_precision: bf16 gathers parameters in bfloat16 and computes in it, gradients are reduced in fp32, in which the
    divided parameters stay (`MixedPrecisionPolicy`).
    Blocks are wrapped from the inside out, the rest of the model last; buffers are not divided.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(place.device.kind, (place.world_size,))
    before = on_meta(model)
    wrapped = sharded(model, place, mesh, place.world_size, reshard_after_forward, cpu_offload, mixed_precision)
    if meta_init:
        materialise(model, place, torch.device("cpu") if cpu_offload else place.device.torch_device)
    wrapped.expected["built_on_meta"] = meta_init
    wrapped.observed = lambda: {"built_on_meta": before}
    return wrapped


def sharded(
    model: nn.Module,
    place: Place,
    mesh: DeviceMesh,
    parts: int,
    reshard_after_forward: bool,
    cpu_offload: bool = False,
    mixed_precision: MixedPrecision = "none",
) -> Wrapped:
    """`fully_shard` over a mesh, blocks first. parts: ranks among which a parameter is divided."""
    import torch
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

    # Pinned host memory is for copies to an accelerator; a CPU build has none.
    policy = CPUOffloadPolicy(pin_memory=place.device.kind != "cpu") if cpu_offload else OffloadPolicy()
    short = mixed_precision == "bf16"
    mixed = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if short else None
    given: dict[str, Any] = {"mesh": mesh, "offload_policy": policy, "mp_policy": mixed or MixedPrecisionPolicy()}
    for module in reversed(list(model.modules())):
        if isinstance(module, place.blocks):
            fully_shard(module, reshard_after_forward=reshard_after_forward, **given)
    # The root is needed again at once in the backward pass: PyTorch's default (None) keeps it gathered.
    root_reshards = None if reshard_after_forward else False
    fully_shard(model, reshard_after_forward=root_reshards, **given)
    assert isinstance(model, FSDPModule)
    root: FSDPModule = model
    syncing = True

    def sync(last: bool) -> AbstractContextManager[Any]:
        nonlocal syncing
        if last != syncing:  # setting it walks through all modules
            syncing = last
            root.set_requires_gradient_sync(last)
        return nullcontext()

    expected = {
        "wrapper": "FSDPModule",
        "world_size": place.world_size,
        "sharded": True,
        "local_share": (0.0, 1 / parts + 0.1),
        "resharded_after_forward": reshard_after_forward if place.blocks else None,
        "parameter_device": "cpu" if cpu_offload else None,
        "compute_dtype": "bfloat16" if short else None,
    }
    stated = {fact: asked for fact, asked in expected.items() if asked is not None}
    return Wrapped(model, sync, stated, equivalence="approximate" if short else None)
