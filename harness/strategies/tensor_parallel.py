"""Tensor parallel: linear layers are divided by columns or rows among the ranks, which take the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.strategies import Holding, Place, Setting, Unpredicted, Unsupported, Wrapped, register
from harness.strategies.whole_model import norm_over_meshes, scaler_of_all_ranks

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh


def undividable(setting: Setting, ranks: int) -> str | None:
    """Why the model's linear layers cannot be divided among so many ranks, or None."""
    if not (setting.model.columns and setting.model.rows):
        return (
            f"workload {setting.workload} does not say which linear layers may be divided "
            "(columns and rows of its ModelFacts)"
        )
    heads = setting.shape.get("heads")
    if heads is not None and heads % ranks:
        return f"{heads} attention heads do not divide among {ranks} ranks"
    return None


def _impossible(setting: Setting, **_options: object) -> str | None:
    return undividable(setting, setting.devices)


def _holds(model: nn.Module, place: Place, **_options: object) -> Holding:
    narrow(model, place, place.world_size)
    return Holding()


def narrow(model: nn.Module, place: Place, ranks: int) -> None:
    """Make the layers that the workload names as narrow as they are on one of so many ranks.

    Raises Unpredicted where one does not divide evenly.
    """
    from torch import nn

    for name, module in list(model.named_modules()):
        column = name.endswith(place.model.columns)
        if isinstance(module, nn.Linear) and (column or name.endswith(place.model.rows)):
            wide, high = module.in_features, module.out_features
            if (high if column else wide) % ranks:
                raise Unpredicted(f"{name} does not divide among {ranks} ranks")
            wide, high = (wide, high // ranks) if column else (wide // ranks, high)
            like = {"device": module.weight.device, "dtype": module.weight.dtype}
            model.set_submodule(name, nn.Linear(wide, high, bias=module.bias is not None, **like))


def _all_ranks(devices: int, **_options: object) -> int:
    return devices


@register(
    "tensor_parallel",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="sharded",
    model_ranks=_all_ranks,
    holds=_holds,
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/distributed.tensor.parallel.html",
)
def tensor_parallel(model: nn.Module, place: Place) -> Wrapped:
    """Each rank computes its columns of the layers that widen and its rows of those that narrow, then sums are added.

    The workload names the layers (`columns`, `rows`); all other parameters are whole on every rank. Every block adds up
    partial sums twice in the forward and in the backward pass, so that this is for quickly connected devices.
    All ranks take the same data. Dropout inside attention draws the same masks for the heads of each rank.
    """
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(place.device.kind, (place.world_size,), mesh_dim_names=("tensor",))
    layers = divided(model, place, mesh)
    expected = {
        "wrapper": "none",
        "world_size": place.world_size,
        "sharded": True,
        **layer_facts(layers, place.world_size),
    }
    return Wrapped(
        model,
        expected=expected,
        observed=lambda: live_layers(model, place),
        total_norm=norm_over_meshes,
        scaler=scaler_of_all_ranks,
    )


def divided(model: nn.Module, place: Place, mesh: DeviceMesh) -> list[str]:
    """Divide the layers that the workload names over a mesh of one dimension; returns their names.

    Raises Unsupported where a layer is none of PyTorch's linear ones or does not divide evenly.
    """
    from torch import nn
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    names = []
    for name, module in list(model.named_modules()):
        column = name.endswith(place.model.columns)
        if not column and not name.endswith(place.model.rows):
            continue
        if type(module) is not nn.Linear:
            raise Unsupported(f"{name} is a {type(module).__name__}: tensor parallelism divides nn.Linear only")
        width = module.out_features if column else module.in_features
        if width % mesh.size():
            raise Unsupported(f"the {width} {'columns' if column else 'rows'} of {name} do not divide among the ranks")
        parallelize_module(module, mesh, ColwiseParallel() if column else RowwiseParallel())
        names.append(name)
    if not names:
        raise Unsupported("no layer of the model has one of the names that its workload gives as columns and rows")
    return names


def layer_facts(names: list[str], ranks: int) -> dict[str, Any]:
    """What must be seen of so many layers divided among so many ranks."""
    return {
        "tensor_parallel_layers": len(names),
        "tensor_parallel_share": (1 / ranks, 1 / ranks),
        "tensor_parallel_ranks": ranks,
    }


def live_layers(model: nn.Module, place: Place) -> dict[str, Any]:
    """Read from the model: linear layers whose weight is divided over ranks that take the same data.

    tensor_parallel_share: numbers of their weights on this rank, as far as that division goes, ÷ all of them.
    """
    from torch import nn
    from torch.distributed.tensor import DTensor, Shard

    layers, here, whole, ranks = 0, 0.0, 0, 1
    for module in model.modules():
        weight = module.weight if isinstance(module, nn.Linear) else None
        if not isinstance(weight, DTensor) or not isinstance(weight.placements[-1], Shard):
            continue
        if "tensor" not in (weight.device_mesh.mesh_dim_names or ()):
            continue
        layers += 1
        ranks = weight.device_mesh["tensor"].size()
        whole += weight.numel()
        here += weight.to_local().numel() * (weight.device_mesh.size() // ranks)
    if not layers:
        return {"tensor_parallel_layers": 0, "tensor_parallel_share": 1.0, "tensor_parallel_ranks": 1}
    return {"tensor_parallel_layers": layers, "tensor_parallel_share": here / whole, "tensor_parallel_ranks": ranks}
