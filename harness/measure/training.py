"""A training ready to step: model wrapped by a strategy, optimizer, schedule, scaler, data. Built from a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from harness.machine.device import Device, open_device
from harness.measure.averaging import WeightAverage, gather_anew
from harness.measure.loop import Outcome, train_step
from harness.measure.memory_limit import limit_memory
from harness.measure.mixing import mixed
from harness.measure.penalties import Penalties
from harness.measure.progress import Progress
from harness.measure.steady import WARMUP_MAX
from harness.recipes.build import build_optimizer, by_mesh, expected_facts, weights_to_judge
from harness.recipes.regularized import Regularization, regularization
from harness.schema.trial import Trial
from harness.strategies import Place, Unsupported, Wrapped
from harness.strategies import registry as strategies
from harness.strategies.precision import Precision, precisions
from harness.strategies.techniques import techniques
from harness.workloads import Workload
from harness.workloads import registry as workloads
from harness.workloads.order import micro_batches, sample_indices

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

    from harness.workloads import Batch

DROPOUT_SEED_STRIDE = 1_000_003


@dataclass
class Training:
    """Everything a step needs. `step()` trains the next one and keeps its outcome."""

    trial: Trial
    device: Device
    place: Place
    workload: Workload
    plain: nn.Module
    """the model as the workload built it (sharding may have replaced its parameters), or what this rank holds of it"""
    wrapped: Wrapped
    precision: Precision
    optimizer: Optimizer
    schedule: LambdaLR
    scaler: torch.amp.GradScaler
    parameters: int
    """trainable parameters of the whole model, counted before it was wrapped"""
    expected: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    wants_grad_norm: bool = False
    inputs: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()
    """what is done to each floating-point tensor of a batch on the device"""
    observed: tuple[Callable[[], dict[str, Any]], ...] = ()
    """facts that only precision, techniques or strategy can read from their live objects"""
    regularization: Regularization = field(default_factory=lambda: Regularization({}, {}))
    watch: Callable[[str], None] | None = None
    """called where gradients are `reduced`, `penalised` and `clipped`, as long as somebody looks at them"""
    progress: Progress | None = None
    """told of each step, on the first rank"""

    def __post_init__(self) -> None:
        self.model = self.wrapped.model
        self.sync = self.wrapped.sync
        self._dtype = getattr(torch, self.precision.autocast) if self.precision.autocast else None
        self._trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._micro_batch, self.passes = self.trial.micro_batch, self.trial.accumulation
        facts = strategies[self.trial.strategy.name].facts
        if facts.splits_micro_batch:
            self._micro_batch *= self.trial.devices
        if facts.whole_step:
            self._micro_batch, self.passes = self.trial.global_batch // self.place.data_ranks, 1
        does, held = self.regularization, self.wrapped
        if held.update is not None and (does.penalties or does.average):
            raise Unsupported("an engine that clips and updates in one call leaves no place for penalties and averages")
        self.penalties, self.average = None, None
        if does.penalties:
            self.penalties = Penalties(does.penalties, self._trained, self.place.world_size, held.copies)
        if does.average is not None:
            self.average = WeightAverage(self._trained, does.average)

    @property
    def steps_done(self) -> int:
        """Optimizer steps trained so far."""
        return len(self.outcomes)

    @property
    def devices(self) -> list[Device]:
        """All devices that this rank drives: its own, or all of the trial's where one process drives them."""
        if self.place.world_size > 1 or self.trial.devices == 1:
            return [self.device]
        return [open_device(self.device.kind, index) for index in range(self.trial.devices)]

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of the forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self.device.kind, dtype=self._dtype)

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield this rank's micro-batches of a step (0-based), fetched one by one, on the device."""
        seed, whole, data = self.trial.seed, self.trial.global_batch, self.workload.train
        indices = sample_indices(seed, step, whole, data[0].shape[0])
        mixture = self.regularization.mix(seed, step, whole) if self.regularization.mix else None
        places = micro_batches(np.arange(whole), self.place.data_rank, self.place.data_ranks, self._micro_batch)
        for part in places:
            batch = self.fetch(data, torch.from_numpy(indices[part]))
            if mixture is not None:
                partners = self.fetch(data, torch.from_numpy(indices[mixture.partner[part]]))
                batch = mixed(batch, partners, torch.from_numpy(mixture.share[part]), self.workload.classes)
            yield batch

    def fetch(self, data: Batch, indices: torch.Tensor) -> Batch:
        """The samples of these indices, on the device."""
        return tuple(self._prepared(self.device.samples(tensor, indices)) for tensor in data)

    def _prepared(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_floating_point():
            for change in self.inputs:
                tensor = change(tensor)
        return tensor

    @property
    def largest_norm(self) -> float | None:
        """L2 norm that the recipe clips gradients to; None: it does not."""
        return self.trial.recipe.clip if self.trial.recipe.clips else None

    def penalise(self) -> torch.Tensor | None:
        """Add the penalties' gradients to the reduced ones; returns this rank's part of their value, or None.

        Gradients are unscaled here where anything is to be done with them; `clip` comes right after.
        """
        if self.penalties is None and self.largest_norm is None and not self.wants_grad_norm:
            return None
        self.scaler.unscale_(self.optimizer)
        self._look("reduced")
        value = self.penalties.add() if self.penalties is not None else None
        self._look("penalised")
        return value

    def clip(self) -> torch.Tensor | None:
        """Clip the gradients as the recipe says; returns their L2 norm before, or None where nobody wants it."""
        largest = self.largest_norm
        if largest is None:
            return self.total_norm() if self.wants_grad_norm else None
        if self.wrapped.total_norm is None:
            norm = nn.utils.clip_grad_norm_(self._trained, largest)
        else:
            norm = self.total_norm()
            for alike in by_mesh(self._trained):
                nn.utils.clip_grads_with_norm_(alike, largest, norm)
        self._look("clipped")
        return norm

    def total_norm(self) -> torch.Tensor:
        """L2 norm of the whole gradient as it is now."""
        if self.wrapped.total_norm is not None:
            return self.wrapped.total_norm(self._trained)
        return nn.utils.get_total_norm([p.grad for p in self._trained if p.grad is not None])

    def _look(self, where: str) -> None:
        if self.watch is not None:
            self.watch(where)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """While this is open, the model has the weights that it is judged by: an average, where there is one."""
        averaged = self.average.in_place() if self.average is not None else nullcontext()
        with weights_to_judge(self.optimizer), averaged:
            yield
        gather_anew(self.model)

    def step(self, **options: Any) -> Outcome:
        """Train the next optimizer step."""
        outcome = train_step(self, self.batches(self.steps_done), 1 / self.passes, **options)
        self.outcomes.append(outcome)
        if self.precision.scaling is not None:
            self.scales.append(self.scaler.get_scale())
        return outcome

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.place.world_size > 1:
            dist.barrier(device_ids=None if self.device.kind == "cpu" else [self.device.index])

    def agreed(self, value: int) -> int:
        """Rank 0's value, on every rank."""
        return int(self._reduced(value if self.place.rank == 0 else 0))

    def anywhere(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return self._reduced(int(flag)) > 0

    def of_whole(self, count: int) -> int:
        """A count over the model's modules, added up over the ranks where each holds other modules."""
        return count if self.wrapped.held is None else self._reduced(count)

    def added_up(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, elementwise: off the clock."""
        values = values.to(self.device.torch_device)
        if self.place.world_size > 1:
            dist.all_reduce(values)
        return values

    def _reduced(self, value: int) -> int:
        return int(self.added_up(torch.tensor(value, dtype=torch.int64)).item())


def build_training(trial: Trial, rank: int, world_size: int, local_rank: int) -> Training:
    """Seed → build → wrap. The same initial weights on every rank and device: they are drawn on the CPU."""
    device = open_device(trial.device, local_rank)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    entry = workloads[trial.workload.name]
    regularized = regularization(trial.recipe)
    workload: Workload = entry.function(trial.size, **{**trial.workload.options, **regularized.workload})

    def build() -> nn.Module:
        torch.manual_seed(trial.seed)
        return workload.build()

    precision: Precision = precisions[trial.precision.name].function(**trial.precision.options)
    place = Place(
        device, rank, world_size, trial.devices, workload.blocks, entry.facts.model, trial.model_ranks,
        trial.accumulation, build, precision.autocast,
    )  # fmt: skip
    limit_memory(trial, place)
    model, count = built(trial, place, build)
    if precision.convert is not None:
        model = precision.convert(model, place)
    adapted = [techniques[each.name].function(model, place, **each.options) for each in trial.techniques]
    wrapped: Wrapped = strategies[trial.strategy.name].function(model, place, **trial.strategy.options)
    optimizer, schedule = build_optimizer(wrapped.model, trial.recipe, trial.horizon(WARMUP_MAX), wrapped.optimizer)
    scaling = wrapped.scaler or torch.amp.GradScaler
    scaler = scaling(device.kind, enabled=precision.scaling is not None, **(precision.scaling or {}))
    # Dropout masks must differ between ranks with different data; initialisation and data order must not.
    torch.manual_seed(trial.seed * DROPOUT_SEED_STRIDE + place.data_rank + wrapped.dropout_stream)
    expected = dict(precision.expected)
    for facts in (*(each.expected for each in adapted), wrapped.expected, expected_facts(trial.recipe)):
        expected |= facts
    changes = [precision.inputs, *(each.inputs for each in adapted)]
    held = wrapped.held or model
    wrapped.untracked = wrapped.untracked or next((each.untracked for each in adapted if each.untracked), None)
    own = partial(precision.observed, model) if precision.observed else None
    readers = [own, *(each.observed for each in adapted), wrapped.observed]
    return Training(
        trial, device, place, workload, held, wrapped, precision, optimizer, schedule, scaler, count, expected,
        inputs=tuple(change for change in changes if change is not None),
        observed=tuple(reader for reader in readers if reader is not None), regularization=regularized,
    )  # fmt: skip


def built(trial: Trial, place: Place, build: Callable[[], nn.Module]) -> tuple[nn.Module, int]:
    """The model on its device, or without memory where the strategy gives it its weights; its trainable parameters."""
    asked = strategies[trial.strategy.name].facts.builds_on_meta
    on_meta = asked is not None and asked(**trial.strategy.options)
    with torch.device("meta") if on_meta else nullcontext():
        model = build()
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return (model if on_meta else model.to(place.device.torch_device)), count
