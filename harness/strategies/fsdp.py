"""FSDP2 `fully_shard`: parameters, gradients and optimizer state are divided among the ranks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from harness.strategies import Place, Wrapped, register

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh


@register(
    "fsdp",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="sharded",
    source="https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
)
def fsdp(
    model: nn.Module,
    place: Place,
    *,
    reshard_after_forward: bool = True,
    cpu_offload: bool = False,
) -> Wrapped:
    """Parameters, gradients and optimizer state divided among the ranks; each block is gathered when it is needed.

    reshard_after_forward: True frees a block's gathered parameters after its forward pass and gathers them again for
    the backward pass (ZeRO-3); False keeps them (ZeRO-2): more memory, less communication; cpu_offload: the divided
    parameters, gradients and optimizer state stay in host memory and the optimizer runs there.
    Blocks are wrapped from the inside out, the rest of the model last; buffers are not divided.
    """
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(place.device.kind, (place.world_size,))
    return sharded(model, place, mesh, place.world_size, reshard_after_forward, cpu_offload)


def sharded(
    model: nn.Module, place: Place, mesh: DeviceMesh, parts: int, reshard_after_forward: bool, cpu_offload: bool = False
) -> Wrapped:
    """`fully_shard` over a mesh, blocks first. parts: ranks among which a parameter is divided."""
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard

    # Pinned host memory is for copies to an accelerator; a CPU build has none.
    policy = CPUOffloadPolicy(pin_memory=place.device.kind != "cpu") if cpu_offload else OffloadPolicy()
    for module in reversed(list(model.modules())):
        if isinstance(module, place.blocks):
            fully_shard(module, mesh=mesh, reshard_after_forward=reshard_after_forward, offload_policy=policy)
    # The root is needed again at once in the backward pass: PyTorch's default (None) keeps it gathered.
    root_reshards = None if reshard_after_forward else False
    fully_shard(model, mesh=mesh, reshard_after_forward=root_reshards, offload_policy=policy)
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
    }
    return Wrapped(model, sync, {fact: asked for fact, asked in expected.items() if asked is not None})
