"""One stage of a pipeline, what stands for the whole model beside it, and how a loss is asked without a whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.strategies import Unsupported

if TYPE_CHECKING:
    from harness.strategies import Batch, Loss


class Stage(nn.Module):
    """The pieces that this rank holds, called one after another; `autocast` is entered around each call."""

    def __init__(self, pieces: Iterable[nn.Module]):
        super().__init__()
        self.pieces = nn.ModuleList(pieces)
        self.autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Output of the last piece, contiguous: only such tensors can be sent."""
        first, *others = self.pieces
        with self.autocast():
            x = first(*inputs, **named)
            for piece in others:
                x = piece(x)
        output: Tensor = x.contiguous()
        return output


class Whole(nn.Module):
    """Stands for the model that is divided into stages: its parameters are this rank's.

    Called on every rank with the same input, without gradients, it returns the whole model's output on every rank:
    the stages run one after another. Training never calls it: there a schedule runs the stages.
    """

    def __init__(self, stage: Stage):
        super().__init__()
        self.stage = stage
        self.rank, self.last = dist.get_rank(), dist.get_world_size() - 1
        self.shapes: tuple[tuple[Tensor, ...], Tensor] | None = None
        """input and output of this rank's stage in the latest call, without their values"""

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Pass from stage to stage, then from the last one to all."""
        if torch.is_grad_enabled():
            raise RuntimeError("a pipeline's stages are trained by its schedule; the whole can only be evaluated")
        device = next(self.stage.parameters()).device
        if self.rank > 0:
            inputs, named = (_received(self.rank - 1, device),), {}
        output = self.stage(*inputs, **named)
        if self.rank < self.last:
            _send(output, self.rank + 1, device)
        tensors = tuple(value for value in inputs if isinstance(value, Tensor))
        self.shapes = tuple(tensor.to("meta") for tensor in tensors), output.to("meta")
        said = [(output.shape, output.dtype)]
        dist.broadcast_object_list(said, src=self.last, device=device)
        whole = output if self.rank == self.last else torch.empty(said[0][0], dtype=said[0][1], device=device)
        dist.broadcast(whole, src=self.last)
        return whole


def _send(tensor: Tensor, to: int, device: torch.device) -> None:
    dist.send_object_list([(tensor.shape, tensor.dtype)], dst=to, device=device)
    dist.send(tensor, dst=to)


def _received(source: int, device: torch.device) -> Tensor:
    said: list[Any] = [None]
    dist.recv_object_list(said, src=source, device=device)
    tensor = torch.empty(said[0][0], dtype=said[0][1], device=device)
    dist.recv(tensor, src=source)
    return tensor


class _Called(Exception):
    """A loss came as far as to call its model."""

    def __init__(self, inputs: tuple[Any, ...], named: dict[str, Any]):
        self.inputs, self.named = inputs, named
        super().__init__("the loss called its model")


class _Listening(nn.Module):
    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        raise _Called(inputs, named)


class _Answering(nn.Module):
    def __init__(self, output: Tensor):
        super().__init__()
        self.output, self.calls = output, 0

    def forward(self, *_inputs: Any, **_named: Any) -> Tensor:
        self.calls += 1
        return self.output


def inputs_of(loss: Loss, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a loss gives its model: it is called with a model that stops there. Raises Unsupported if it calls none."""
    try:
        loss(_Listening(), batch)
    except _Called as call:
        return call.inputs, call.named
    raise Unsupported("the workload's loss does not call its model, so that there is nothing to put into stages")


def loss_of(loss: Loss, output: Tensor, batch: Batch) -> Tensor:
    """The loss of an output that the model has made of this batch already. Raises Unsupported at a second call."""
    model = _Answering(output)
    value = loss(model, batch)
    if model.calls != 1:
        raise Unsupported(f"the workload's loss calls its model {model.calls} times; a pipeline runs it once")
    return value
