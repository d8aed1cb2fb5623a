"""A cell put together without being trained: its model, batch and place as a rank would have them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from harness.machine.device import open_device
from harness.recipes.regularized import regularization
from harness.schema.trial import Trial
from harness.strategies import Place
from harness.strategies import registry as strategies
from harness.strategies.holding import Holding
from harness.strategies.precision import Precision, precisions
from harness.strategies.techniques import techniques
from harness.workloads import Workload
from harness.workloads import registry as workloads

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Built:
    """What a rank computes with. model: as the strategy's rule left it, techniques and precision in place."""

    model: nn.Module
    batch: Batch
    place: Place
    holding: Holding


@dataclass
class Cell:
    """A trial's parts. values: tensors have values, for models that read them; else the mode around decides."""

    trial: Trial
    values: bool = False

    @cached_property
    def workload(self) -> Workload:
        """The trial's workload, with the options that its regularizers set."""
        options = {**self.trial.workload.options, **regularization(self.trial.recipe).workload}
        made: Workload = workloads[self.trial.workload.name].function(self.trial.size, **options)
        return made

    @cached_property
    def precision(self) -> Precision:
        """The trial's precision."""
        made: Precision = precisions[self.trial.precision.name].function(**self.trial.precision.options)
        return made

    def parameters(self) -> int:
        """Numbers that the model has, counted without memory for them."""
        with torch.device("meta"):
            return sum(each.numel() for each in self.workload.build().parameters())

    def built(self) -> Built:
        """What the first rank has, as `measure.training.build_training` puts it together."""
        trial, place = self.trial, self._place()
        with torch.device(place.device.torch_device):
            model, batch = self.workload.build(), self._batch()
        if self.precision.convert is not None:
            model = self.precision.convert(model, place)
        adapted = [techniques[each.name].function(model, place, **each.options) for each in trial.techniques]
        for change in (self.precision.inputs, *(each.inputs for each in adapted)):
            if change is not None:
                batch = tuple(change(tensor) if tensor.is_floating_point() else tensor for tensor in batch)
        rule = strategies[trial.strategy.name].facts.holds
        assert rule is not None
        return Built(model, batch, place, rule(model, place, **trial.strategy.options))

    def autocast(self) -> AbstractContextManager[object]:
        """Context of the forward pass."""
        name = self.precision.autocast
        return nullcontext() if name is None else torch.autocast(self.trial.device, dtype=getattr(torch, name))

    def _place(self) -> Place:
        trial, facts = self.trial, workloads[self.trial.workload.name].facts
        return Place(
            open_device(trial.device, 0), 0, trial.processes, trial.devices, self.workload.blocks, facts.model,
            trial.model_ranks, trial.accumulation, self.workload.build, self.precision.autocast,
        )  # fmt: skip

    def _batch(self) -> Batch:
        """A micro-batch of the data's shapes; samples themselves where their values are read."""
        size, data = self.trial.micro_batch, self.workload.train
        if self.values:
            return tuple(tensor[torch.arange(size) % len(tensor)] for tensor in data)
        return tuple(torch.empty((size, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in data)
