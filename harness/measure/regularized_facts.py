"""Regularizers, proved: what each one asks for, and what the live objects of the first step and of the whole run say.

What takes effect in the first step is read there: rates that modules hold, the label smoothing that the loss is called
with, the gradients before and after a penalty, their norm after clipping, the samples that reach the loss. What does
only later is read when training is over: masks that were drawn, an average that differs from the weights, the step
that training ended at. Off the clock, both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from harness.measure.dropout import Dropout
from harness.measure.penalties import locals_of
from harness.measure.training import Training
from harness.recipes.regularizers import EarlyStop, Mixture
from harness.workloads.models.stochastic_depth import StochasticDepth
from harness.workloads.order import sample_indices

if TYPE_CHECKING:
    from harness.workloads import Batch

MASKS = ("dropout", "stochastic_depth")
"""Options of workloads that are rates of masks drawn at random."""
PENALTY_SHARE, ROUNDED_SHARE = (0.98, 1.02), (0.5, 1.5)
"""Where the gradient that was added lies, in units of the one that autograd finds; the latter where gradients are kept
in fewer bits, so that two penalties one after another round otherwise than their sum.
"""
ROUNDING = 1.001
"""A clipped gradient's norm may be so much longer: it is divided by norm + 1e-6, and summed anew."""
WELL_MIXED = (0.02, 0.98)
"""Shares at which a sample is surely another one, in any number format."""
DRAWS = 64
"""Steps whose mixtures are looked at as drawn."""


@dataclass
class Proof:
    """asked: facts that must be there; found: as they are."""

    asked: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def add(self, fact: str, asked: Any, found: Any) -> None:
        """One fact more."""
        self.asked[fact], self.found[fact] = asked, found


@contextmanager
def watched_step(training: Training, dropout: Dropout) -> Iterator[Proof]:
    """Around the first step: what it proves is in the given facts once this closes."""
    does, proof = training.regularization, Proof()
    smoothing: AbstractContextManager[list[float]] = nullcontext([])
    mixing: AbstractContextManager[list[Batch]] = nullcontext([])
    if "label_smoothing" in does.workload:
        smoothing = _label_smoothing()
    if does.mix is not None:
        mixing = _samples(training)
    gradients = _Gradients(training)
    with smoothing as amounts, mixing as batches, gradients:
        yield proof
    for option in MASKS:
        if option in does.workload:
            proof.add(f"{option}_rate", does.workload[option], _rate(training, dropout, option))
    if "label_smoothing" in does.workload:
        proof.add("label_smoothing", does.workload["label_smoothing"], _anywhere(training, amounts))
    if "weight_decay" in does.recipe:
        used = max(float(group.get("weight_decay", 0.0)) for group in training.optimizer.param_groups)
        proof.add("weight_decay", does.recipe["weight_decay"], used)
    if does.mix is not None:
        _prove_mixing(proof, training, batches)
    gradients.prove(proof)


def proved_in_the_end(training: Training, dropout: Dropout) -> Proof:
    """What only a whole run tells; call it after the last step."""
    does, proof = training.regularization, Proof()
    if any(option in does.workload for option in MASKS):
        drawn = dropout.drawn_since_restored()
        proof.add("random_masks", True, training.anywhere(drawn))
    if training.average is not None:
        proof.add("average_differs_from_weights", True, training.anywhere(training.average.differs()))
    return proof


def prove_stop(proof: Proof, rule: EarlyStop, values: Sequence[float], better: str, stopped: bool) -> None:
    """Whether training ended where the definition of early stopping, read off the evaluations, says."""
    sign = 1 if better == "higher" else -1
    best, waiting = -math.inf, 0
    for value in values:
        waiting = 0 if sign * value > best + rule.min_delta else waiting + 1
        best = best if waiting else sign * value
    proof.add("stopped_early", waiting >= rule.patience, stopped)


# Rates of masks


def _rate(training: Training, dropout: Dropout, option: str) -> float:
    """The rate nearest to the asked one that a module holds, of stochastic depth or of all else; 0: there is none."""
    asked: float = training.regularization.workload[option]
    depth = option == "stochastic_depth"
    own = [rate for module, name, rate in dropout.rates if _is_depth(module, name) == depth]
    if training.wrapped.held is not None:  # every rank has other modules
        every: list[list[float]] = [[] for _ in range(training.place.world_size)]
        dist.all_gather_object(every, own)
        own = [rate for rates in every for rate in rates]
    return min(own, key=lambda rate: abs(rate - asked), default=0.0)


def _is_depth(module: nn.Module, name: str) -> bool:
    return isinstance(module, StochasticDepth) or "depth" in name or "path" in name


# Label smoothing


@contextmanager
def _label_smoothing() -> Iterator[list[float]]:
    """While this is open, the label smoothing of each call of torch's cross entropy is kept."""
    amounts: list[float] = []
    plain = functional.cross_entropy

    def listening(*arguments: Any, **named: Any) -> Tensor:
        amounts.append(float(named.get("label_smoothing", 0.0)))
        return plain(*arguments, **named)

    with mock.patch.object(functional, "cross_entropy", listening):
        yield amounts


def _anywhere(training: Training, amounts: Sequence[float]) -> float | None:
    """The largest amount on any rank, where all calls of a rank had the same; None: no loss was asked."""
    own = max(amounts, default=-1.0) if len(set(amounts)) <= 1 else -1.0
    every = torch.zeros(training.place.world_size, dtype=torch.float64)
    every[training.place.rank] = own
    found = float(training.added_up(every).max())
    return None if found < 0 else found


# Mixed samples


@contextmanager
def _samples(training: Training) -> Iterator[list[Batch]]:
    """While this is open, the batches that reach the loss are kept."""
    batches: list[Batch] = []
    workload = training.workload

    def listening(model: nn.Module, batch: Batch) -> Tensor:
        batches.append(batch)
        return workload.loss(model, batch)

    training.workload = replace(workload, loss=listening)
    try:
        yield batches
    finally:
        training.workload = workload


def _prove_mixing(proof: Proof, training: Training, batches: Sequence[Batch]) -> None:
    """Whether samples are mixed, as drawn and as they reach the loss.

    mixing_drawn: share of the positions of many steps that are well mixed with another one; mixed_samples: samples of
    the first step, on all ranks, that reach the loss as none of the data are, with labels that are probabilities.
    """
    mix, trial = training.regularization.mix, training.trial
    assert mix is not None
    drawn = [_well_mixed(mix(trial.seed, step, trial.global_batch)) for step in range(DRAWS)]
    proof.add("mixing_drawn", (0.01, 1.0), sum(drawn) / (DRAWS * trial.global_batch))
    indices = torch.from_numpy(sample_indices(trial.seed, 0, trial.global_batch, len(training.workload.train[0])))
    stored = {_content(sample) for sample in training.fetch(training.workload.train, indices)[0]}
    own = sum(_content(sample) not in stored for inputs, labels in batches if labels.ndim == 2 for sample in inputs)
    whole = int(training.added_up(torch.tensor(own, dtype=torch.int64)).item())
    proof.add("mixed_samples", (float(drawn[0]), math.inf), whole)


def _well_mixed(mixture: Mixture) -> int:
    low, high = WELL_MIXED
    return sum(
        partner != position and low < share < high
        for position, (partner, share) in enumerate(zip(mixture.partner, mixture.share, strict=True))
    )


def _content(sample: Tensor) -> bytes:
    return sample.detach().cpu().contiguous().float().numpy().tobytes()


# Gradients: penalties and clipping


class _Gradients:
    """Gradients of the first step before and after penalties, and their norm after clipping."""

    def __init__(self, training: Training):
        self._training = training
        self._before: list[Tensor] = []
        self._penalty: float | None = None
        self._clipped: Tensor | None = None
        self._any = training.penalties is not None or "clip" in training.regularization.recipe

    def __enter__(self) -> None:
        self._training.watch = self._look if self._any else None

    def __exit__(self, *_error: object) -> None:
        self._training.watch = None

    def _look(self, where: str) -> None:
        penalties = self._training.penalties
        if where == "clipped":
            self._clipped = self._training.total_norm()
        elif penalties is None:
            return
        elif where == "reduced":
            self._before = [gradient.clone() for gradient in self._gradients()]
        else:
            self._penalty = self._share(self._gradients(), penalties.by_autograd())

    def _gradients(self) -> list[Tensor]:
        """What this rank holds of them; zeros where the loss gave none."""
        assert self._training.penalties is not None
        parameters = self._training.penalties.parameters
        return locals_of(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)

    def _share(self, after: list[Tensor], expected: list[Tensor]) -> float:
        """⟨what was added, what should be⟩ ÷ ‖what should be‖², over all ranks; 0 where nothing of it is left.

        What should be added is autograd's gradient as far as the gradient's own number format can take it up: of a
        small penalty bfloat16 loses a part, whoever adds it.
        """
        sums = torch.zeros(2, dtype=torch.float64)
        for before, now, asked in zip(self._before, after, expected, strict=True):
            added = (now.double() - before.double()).flatten()
            wanted = ((before + asked.to(before.dtype)).double() - before.double()).flatten()
            sums += torch.stack([added @ wanted, wanted @ wanted]).cpu()
        whole = self._training.added_up(sums.float()).double()
        return round(float(whole[0] / whole[1]), 4) if float(whole[1]) else 0.0

    def prove(self, proof: Proof) -> None:
        """Add what was seen."""
        training = self._training
        if training.penalties is not None and not (self._penalty is not None and math.isnan(self._penalty)):
            short = any(gradient.dtype.itemsize < 4 for gradient in self._before)
            asked = ROUNDED_SHARE if short else PENALTY_SHARE
            proof.add("penalty_in_gradient", asked, self._penalty)  # NaN: the scaled loss overflowed
        if "clip" in training.regularization.recipe and training.wrapped.update is None:
            largest = float(training.regularization.recipe["clip"])
            norm = None if self._clipped is None else _number(self._clipped)
            if norm is None or math.isfinite(norm):
                proof.add("clipped_norm", (0.0, largest * ROUNDING), norm)


def _number(norm: Tensor) -> float:
    from torch.distributed.tensor import DTensor

    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
