"""Hybrid sharding: parameters are divided within groups of ranks and copied between the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.strategies import Holding, Place, Setting, Wrapped, register
from harness.strategies.fsdp import holds_parts, sharded

if TYPE_CHECKING:
    from torch import nn


def _impossible(setting: Setting, *, shard_size: int = 2, **_options: object) -> str | None:
    devices = setting.devices
    if devices % shard_size or devices // shard_size < 2:
        return f"hsdp needs at least two groups of shard_size {shard_size}: {devices} devices do not divide so"
    return None


def _holds(_model: nn.Module, _place: Place, *, shard_size: int = 2, reshard_after_forward: bool = True) -> Holding:
    return holds_parts(shard_size, reshard_after_forward=reshard_after_forward)


@register(
    "hsdp",
    processes="per_device",
    min_devices=4,
    equivalence="reordered",
    updates="sharded",
    holds=_holds,
    impossible=_impossible,
    source="https://arxiv.org/abs/2304.11277",
)
def hsdp(
    model: nn.Module,
    place: Place,
    *,
    shard_size: Annotated[int, Field(ge=2)] = 2,
    reshard_after_forward: bool = True,
) -> Wrapped:
    """FSDP within groups of `shard_size` ranks, gradients averaged between the groups.

    shard_size: ranks that share one copy of the parameters; a node's devices, where nodes are slowly connected.
    reshard_after_forward: as for fsdp.
    """
    from torch.distributed.device_mesh import init_device_mesh

    shape = (place.world_size // shard_size, shard_size)
    mesh = init_device_mesh(place.device.kind, shape, mesh_dim_names=("replicate", "shard"))
    return sharded(model, place, mesh, shard_size, reshard_after_forward)
