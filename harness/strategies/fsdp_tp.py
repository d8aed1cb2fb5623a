"""FSDP × tensor parallel on a mesh of two dimensions: linear layers are divided twice, all else by FSDP alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.strategies import Holding, Place, Setting, Wrapped, register
from harness.strategies.fsdp import holds_parts, sharded
from harness.strategies.tensor_parallel import divided, layer_facts, live_layers, narrow, undividable
from harness.strategies.whole_model import norm_over_meshes, scaler_of_all_ranks

if TYPE_CHECKING:
    from torch import nn


def _impossible(setting: Setting, *, tensor_ranks: int = 2, **_options: object) -> str | None:
    devices = setting.devices
    if devices % tensor_ranks or devices // tensor_ranks < 2:
        return f"fsdp_tp needs at least two groups of tensor_ranks {tensor_ranks}: {devices} devices do not divide so"
    return undividable(setting, tensor_ranks)


def _together(_devices: int, *, tensor_ranks: int = 2, **_options: object) -> int:
    return tensor_ranks


def _holds(model: nn.Module, place: Place, *, tensor_ranks: int = 2, reshard_after_forward: bool = True) -> Holding:
    narrow(model, place, tensor_ranks)
    return holds_parts(place.world_size // tensor_ranks, reshard_after_forward=reshard_after_forward)


@register(
    "fsdp_tp",
    processes="per_device",
    min_devices=4,
    equivalence="reordered",
    updates="sharded",
    model_ranks=_together,
    holds=_holds,
    impossible=_impossible,
    source="https://docs.pytorch.org/tutorials/intermediate/TP_tutorial.html",
)
def fsdp_tp(
    model: nn.Module,
    place: Place,
    *,
    tensor_ranks: Annotated[int, Field(ge=2)] = 2,
    reshard_after_forward: bool = True,
) -> Wrapped:
    """Neighbouring ranks divide each layer (tensor parallel), and FSDP divides what they hold among such groups.

    tensor_ranks: neighbouring ranks that compute one layer together and take the same data; a node's devices, where
    nodes are slowly connected; reshard_after_forward: as for fsdp, over the ranks that take other data.
    """
    from torch.distributed.device_mesh import init_device_mesh

    shape = (place.world_size // tensor_ranks, tensor_ranks)
    mesh = init_device_mesh(place.device.kind, shape, mesh_dim_names=("data", "tensor"))
    layers = divided(model, place, mesh["tensor"])
    wrapped = sharded(model, place, mesh["data"], shape[0], reshard_after_forward)
    wrapped.expected |= layer_facts(layers, tensor_ranks)
    wrapped.observed = lambda: live_layers(model, place)
    wrapped.total_norm = norm_over_meshes
    wrapped.scaler = scaler_of_all_ranks
    return wrapped
