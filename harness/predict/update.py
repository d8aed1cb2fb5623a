"""An optimizer's state and its step: the optimizer is built on what a rank keeps of the parameters, and steps twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.predict.tape import Tape
from harness.recipes import optimizers
from harness.recipes.build import build_optimizer
from harness.schema.suite import Recipe
from harness.strategies.holding import Holding

if TYPE_CHECKING:
    from torch.optim import Optimizer

REAL_AT_MOST = 20_000_000
"""Numbers of parameters up to which an optimizer that reads values is tried on real tensors: more would take long."""


@dataclass(frozen=True)
class State:
    """What a rank's optimizer keeps from step to step, and the most that its step makes beside that.

    in_lists: bytes of the tensors that it keeps in lists, which memory trackers do not know for optimizer state.
    """

    kept: int
    in_lists: int = 0
    working: int = 0


def state_of(model: nn.Module, holding: Holding, recipe: Recipe) -> State:
    """State of the recipe's optimizer for this model; the model's parameters are replaced by a rank's parts.

    By its own first step where it can be built on tensors without values, else on real ones if they are few, else by
    what the optimizer's registration states.
    """
    replace_by_parts(model, holding)
    own = _updated(model, holding)
    stated = _stated(own, recipe)
    try:
        found = _stepped(model, recipe)
    except Exception:
        if sum(each.numel() for each in own) > REAL_AT_MOST:
            return State(stated)
        from torch._subclasses.fake_tensor import unset_fake_temporarily

        with unset_fake_temporarily():
            for parameter in list(model.parameters()):
                _replace(model, parameter, torch.zeros(parameter.shape, dtype=parameter.dtype))
            found = _stepped(model, recipe)
    if found.kept + found.in_lists == 0:  # a history that these steps, whose gradients are 0, do not begin
        found = replace(found, in_lists=stated)
    return found


def replace_by_parts(model: nn.Module, holding: Holding) -> None:
    """Put what a rank keeps of each parameter in the parameter's place, in the type that it is kept in."""
    if holding.parts > 1:
        for parameter in list(model.parameters()):
            dtype = getattr(parameter, "kept_dtype", parameter.dtype)
            part = torch.empty(holding.part_of(parameter.shape), dtype=dtype, device=parameter.device)
            _replace(model, parameter, part)


def _replace(model: nn.Module, parameter: nn.Parameter, data: Tensor) -> None:
    new = nn.Parameter(data, requires_grad=parameter.requires_grad)
    for module in model.modules():
        for name, each in list(module._parameters.items()):
            if each is parameter:
                module._parameters[name] = new


def _updated(model: nn.Module, holding: Holding) -> Sequence[nn.Parameter]:
    """The parameters that the rank's optimizer updates; the others are made untrained."""
    trained = [each for each in model.parameters() if each.requires_grad]
    own = trained if holding.updated is None else holding.updated(trained)
    chosen = {id(each) for each in own}
    for parameter in trained:
        parameter.requires_grad_(id(parameter) in chosen)
    return own


def _stepped(model: nn.Module, recipe: Recipe) -> State:
    """By two steps of the optimizer: the first makes its state, the second shows what it works with."""
    optimizer, _schedule = build_optimizer(model, recipe, total_steps=100)
    trained = [each for each in model.parameters() if each.requires_grad]
    for _ in range(2):
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        tape = Tape(making="optimizer")
        for tensor in (*trained, *(each.grad for each in trained if each.grad is not None), *_tensors(optimizer)):
            tape.know(tensor, None)
        with tape:
            optimizer.step()
    tensors = {tensor.untyped_storage()._cdata: tensor for tensor in _tensors(optimizer)}
    lists = {tensor.untyped_storage()._cdata for tensor in _tensors(optimizer, in_lists=True)}
    sizes = {key: tensor.untyped_storage().nbytes() for key, tensor in tensors.items()}
    in_lists = sum(size for key, size in sizes.items() if key in lists)
    return State(sum(sizes.values()) - in_lists, in_lists, tape.peak["optimizer"])


def _tensors(optimizer: Optimizer, in_lists: bool = False) -> Iterator[Tensor]:
    """Tensors of an optimizer's state; in_lists: those in lists only."""
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor) and not in_lists:
                yield value
            elif isinstance(value, (list, tuple)):
                yield from (each for each in value if isinstance(each, Tensor))


def _stated(own: Sequence[nn.Parameter], recipe: Recipe) -> int:
    """Bytes by the numbers that the optimizer's registration says it keeps."""
    assert recipe.optimizer is not None
    facts, options = optimizers.registry[recipe.optimizer.name].facts, recipe.optimizer.options
    return sum(facts.numbers_kept(each.shape, options) * each.itemsize for each in own)
