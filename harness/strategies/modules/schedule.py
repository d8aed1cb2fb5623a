"""A stage that runs by PyTorch's schedule, and what of its gradients only all stages together can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn import Parameter

from harness.strategies import Place
from harness.strategies.modules.stage import Whole, inputs_of, loss_of

if TYPE_CHECKING:
    from harness.strategies import Autocast, Batch, Loss, Scale

SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


def loss_of_last(loss: Tensor) -> Tensor:
    """What the last rank knows, on every rank."""
    known = loss.clone()
    dist.broadcast(known, src=dist.get_world_size() - 1)
    return known


@dataclass(frozen=True)
class Tied:
    """A parameter of several stages. group: of their ranks; counted: whether its gradient counts here in the norm."""

    parameter: Parameter
    group: Any
    counted: bool


def tied_parameters(stages: Sequence[Sequence[nn.Module]], rank: int) -> list[Tied]:
    """Parameters of this rank that other stages hold too. All ranks make all groups, in the same order."""
    owners: dict[Parameter, dict[int, None]] = {}
    for number, pieces in enumerate(stages):
        for parameter in (parameter for piece in pieces for parameter in piece.parameters()):
            owners.setdefault(parameter, {})[number] = None
    groups: dict[tuple[int, ...], Any] = {}
    tied = []
    for parameter, holding in owners.items():
        ranks = tuple(holding)
        if len(ranks) < 2 or not parameter.requires_grad:
            continue
        if ranks not in groups:
            groups[ranks] = dist.new_group(list(ranks))
        if rank in ranks:
            tied.append(Tied(parameter, groups[ranks], counted=rank == ranks[0]))
    return tied


class ScheduledStage:
    """A stage with its schedule, made at the first step, when the shapes are known."""

    def __init__(self, whole: Whole, place: Place, schedule: str, tied: Sequence[Tied]):
        self.whole, self.place, self.tied = whole, place, tied
        self.order = schedule
        self.first, self.last = place.rank == 0, place.rank == place.world_size - 1
        self.schedule: Any = None
        self.asked: tuple[Batch, Loss, Scale, Autocast] | None = None
        """of the step that runs"""
        self.losses: list[Tensor] = []
        """of its micro-batches, on the last rank"""

    def forward_backward(self, batch: Batch, loss: Loss, scale: Scale, autocast: Autocast) -> Tensor:
        """Run all micro-batches of the step through the stages; the mean loss on the last rank, 0 on the others.

        The schedule cuts its target into micro-batches: it is given the samples' numbers, by which the loss finds the
        samples themselves.
        """
        self.asked, self.whole.stage.autocast = (batch, loss, scale, autocast), autocast
        inputs, named = inputs_of(loss, batch) if self.first else ((), {})
        if self.schedule is None:
            self.schedule = self._scheduled(batch, loss)
        self.losses.clear()
        numbers = torch.arange(len(batch[0]), device=batch[0].device) if self.last else None
        self.schedule.step(*inputs, target=numbers, return_outputs=False, **named)
        self.asked = None
        for each in self.tied:
            self._add_up(each)
        if self.last:
            return torch.stack(self.losses).mean()
        nothing = torch.zeros((), device=batch[0].device)
        scale(nothing)  # torch's scaler must have seen a loss before it looks at gradients
        return nothing

    def _loss(self, output: Tensor, numbers: Tensor) -> Tensor:
        """The scaled loss of a micro-batch, its share of the step's mean."""
        assert self.asked is not None
        batch, loss, scale, autocast = self.asked
        with autocast():
            value = loss_of(loss, output, tuple(tensor[numbers] for tensor in batch))
        self.losses.append(value.detach())
        return scale(value / self.place.accumulation)

    def _scheduled(self, batch: Batch, loss: Loss) -> Any:
        """The schedule, with shapes from one micro-batch passed through the stages.

        PyTorch finds them out itself by training on uninitialised memory, which BatchNorm's averages would keep.
        """
        inputs, named = inputs_of(loss, tuple(tensor[: len(tensor) // self.place.accumulation] for tensor in batch))
        device, training = self.place.device.torch_device, self.whole.training
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # what is compiled is for training
            self.whole.eval()(*inputs, **named)
            self.whole.train(training)
        assert self.whole.shapes is not None
        taken, given = self.whole.shapes
        stage = PipelineStage(
            self.whole.stage,
            self.place.rank,
            self.place.world_size,
            device,
            input_args=taken if self.first else tuple(_differentiable(tensor) for tensor in taken),
            output_args=_differentiable(given),
        )
        return SCHEDULES[self.order](stage, self.place.accumulation, loss_fn=self._loss, scale_grads=False)

    def _add_up(self, tied: Tied) -> None:
        if tied.parameter.grad is None:
            tied.parameter.grad = torch.zeros_like(tied.parameter)
        dist.all_reduce(tied.parameter.grad, group=tied.group)

    def total_norm(self, parameters: Sequence[Parameter]) -> Tensor:
        """√(Σ over stages of squares of gradients), a tied parameter's counted once."""
        elsewhere = {each.parameter for each in self.tied if not each.counted}
        own = [each.grad for each in parameters if each.grad is not None and each not in elsewhere]
        squares = nn.utils.get_total_norm(own).square().to(self.place.device.torch_device)
        dist.all_reduce(squares)
        return torch.sqrt(squares)

    def copies(self, parameter: Parameter) -> int:
        """On how many stages a parameter is."""
        group = next((each.group for each in self.tied if each.parameter is parameter), None)
        return 1 if group is None else dist.get_world_size(group)

    def observed(self) -> dict[str, Any]:
        """Facts of the live schedule and of all ranks' stages."""
        pieces: list[int] = [0] * self.place.world_size
        dist.all_gather_object(pieces, len(self.whole.stage.pieces))
        schedule = self.schedule
        return {
            "pipeline_stages": schedule._stage.num_stages if schedule else 0,
            "pipeline_schedule": type(schedule).__name__ if schedule else "none",
            "pipeline_micro_batches": schedule._n_microbatches if schedule else 0,
            "pieces_per_stage": "+".join(map(str, pieces)),
        }

    def standing(self) -> list[Tensor]:
        """What the stage receives into: tensors as many as micro-batches, for activations and for gradients."""
        stage = self.schedule._stage
        received = [*stage.args_recv_info.values(), *stage.grad_recv_info.values()]
        return [info.buffer for infos in received for info in infos if info.buffer is not None]


def _differentiable(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_(tensor.is_floating_point())
