"""Initial weights of a model that was built without memory (meta device) and divided: rank 0 has and sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Place

if TYPE_CHECKING:
    import torch
    from torch import nn


def on_meta(model: nn.Module) -> bool:
    """Whether no parameter and no buffer of the model has memory."""
    return all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def materialise(model: nn.Module, place: Place, device: torch.device) -> None:
    """Give a divided model memory, and the initial weights that rank 0 builds: the same as on every other path.

    One tensor after another is sent whole and each rank keeps its part, so that rank 0 alone ever holds the whole
    model, in host memory. Buffers are sent too, also those that are in no state.
    Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
    """
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    assert place.build is not None
    model.to_empty(device=device)
    full = place.build() if place.rank == 0 else None
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    weights = {name: tensor.to(types[name]) for name, tensor in full.state_dict().items()} if full is not None else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, weights, options=options)
    buffers = list(model.buffers())  # by position: techniques rename modules and leave their order
    for buffer, initial in zip(buffers, full.buffers() if full is not None else buffers, strict=True):
        buffer.copy_(initial)
        dist.broadcast(buffer, src=0)
