"""The memory of a cell: bytes by kind on the device that holds most, at the moment when it holds most.

    kept from step to step   parameters, optimizer state: what the strategy states that a rank keeps of them
    forward, backward        the workload's own passes, on tensors that have shapes and no values (a tape)
    update                   the optimizer's own step, on the rank's parts
    prediction               the kinds at the larger of both peaks

Nothing that was measured goes into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import nn

from harness.predict.cell import Built, Cell
from harness.predict.gathering import gathered_in
from harness.predict.passes import Staged, passes, staged_passes
from harness.predict.tape import Sizes
from harness.predict.update import REAL_AT_MOST, State, state_of
from harness.recipes.regularized import regularization
from harness.schema.trial import Trial
from harness.strategies import Unpredicted
from harness.strategies import registry as strategies
from harness.strategies.holding import Holding
from harness.strategies.modules.stage import Stage, inputs_of, loss_of
from harness.strategies.techniques import techniques

SMALL = 1_000_000
"""Parameters up to which real tensors on the CPU are quicker than to begin with ones without values."""


def predicted(trial: Trial) -> Sizes:
    """Bytes by kind that one device of the trial holds at its peak, of the device that holds most.

    Raises Unpredicted where the strategy or a technique states no rule, and what the model raises where it cannot run
    without values and is too large to be tried with them.
    """
    if strategies[trial.strategy.name].facts.holds is None:
        raise Unpredicted(f"strategy {trial.strategy.name} states no rule of what a rank holds")
    for technique in trial.techniques:
        if why := techniques[technique.name].facts.unpredicted:
            raise Unpredicted(why)
    size = Cell(trial).parameters()
    if size <= SMALL and trial.device == "cpu":
        return _largest(Cell(trial, values=True))
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with FakeTensorMode():
            return _largest(Cell(trial))
    except Unpredicted:
        raise
    except Exception:
        if size > REAL_AT_MOST:
            raise
        return _largest(Cell(trial, values=True))


def _largest(cell: Cell) -> Sizes:
    """Of the rank with the largest peak. Where each has a stage of its own all are looked at; else rank 0 stands for
    all: it has the largest parts.
    """
    built = cell.built()
    if not built.holding.stages:
        return _of_rank(cell, built, built.model, partial(_at_passes, cell, built))
    found = []
    for staged, standing_for in _stages(cell, built):
        found.append(_of_rank(cell, built, standing_for, partial(staged_passes, staged, cell.autocast)))
    return max(found, key=_total)


def _stages(cell: Cell, built: Built) -> Iterator[tuple[Staged, Stage]]:
    """Each stage of a pipeline with what comes to it from the one before."""
    holding, loss = built.holding, cell.workload.loss
    inputs, _named = inputs_of(loss, built.batch)
    assert holding.waiting is not None
    received = None
    for number, pieces in enumerate(holding.stages):
        stage, last = Stage(pieces), number == len(holding.stages) - 1
        answer = (lambda output: loss_of(loss, output, built.batch)) if last else None
        waiting, every = holding.waiting(number), built.place.accumulation
        yield Staged(stage, built.batch, inputs, received, answer, waiting, every), stage
        with torch.no_grad(), cell.autocast():
            received = stage(*(inputs if received is None else (received,)))


def _total(sizes: Sizes) -> int:
    return sum(sizes.values())


def _of_rank(cell: Cell, built: Built, held: nn.Module, at_passes: Callable[[Sizes], Sizes]) -> Sizes:
    """Bytes by kind at the larger of a rank's two peaks: of its passes and of its update.

    held: what the rank has of the model; at_passes: what stands all the time → bytes by kind at the passes' peak.
    """
    holding = built.holding
    parts, gradients = _bytes(held.parameters(), holding), _bytes(_trained(held), holding)
    in_buckets = gradients if holding.buckets != "none" else 0
    standing = {"parameters": parts, "other": _buffers(held) + _averages(cell, gradients)}
    beside = holding.in_host_memory and built.place.device.kind != "cpu"
    if beside:
        standing["parameters"] = 0
    in_passes = at_passes(standing | {"other": standing["other"] + in_buckets})
    state = State(0) if beside else state_of(held, holding, cell.trial.recipe)
    if holding.buckets == "hold":
        in_buckets = 0  # they are the gradients
    in_update = dict.fromkeys(in_passes, 0) | standing | {"gradients": 0 if beside else gradients}
    in_update["other"] += in_buckets
    in_update["optimizer"] += state.working
    for peak in (in_passes, in_update):
        peak["optimizer"] += state.kept
        peak["other"] += state.in_lists
    return max(in_passes, in_update, key=_total)


def _at_passes(cell: Cell, built: Built, standing: Sizes) -> Sizes:
    """The peak of the passes where each rank computes with the model."""
    holding, batch = built.holding, built.batch
    model = gathered_in(built.model, holding.gathered_dtype)
    if holding.gathered_dtype is not None:
        dtype = getattr(torch, holding.gathered_dtype)
        batch = tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in batch)
    return passes(model, batch, cell.workload.loss, cell.autocast, built.place, holding, standing)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [each for each in model.parameters() if each.requires_grad]


def _bytes(parameters: Iterable[nn.Parameter], holding: Holding) -> int:
    """Of what a rank keeps of these parameters."""
    return sum(math.prod(holding.part_of(each.shape)) * each.itemsize for each in parameters)


def _buffers(model: nn.Module) -> int:
    return sum(each.nbytes for each in model.buffers())


def _averages(cell: Cell, trained: int) -> int:
    """An average of the weights is as large as what is trained of them."""
    return trained if regularization(cell.trial.recipe).average is not None else 0
