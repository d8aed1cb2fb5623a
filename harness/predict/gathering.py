"""Gathered blocks on a tape: when `fully_shard` gathers a block, lets it go and divides its gradients.

As PyTorch does it: in the forward pass the buffer a block was gathered in is kept until the next block is gathered; in
the backward pass the block that comes next is gathered ahead; the gradients of a block are packed into a buffer, which
is kept until the next block's is made.
Source: torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from harness.predict.tape import Tape, in_backward
from harness.strategies.holding import Holding


@dataclass(eq=False)
class Unit:
    """Parameters that are gathered together. gathered, packed: bytes whole, and with the rows that make it even."""

    parameters: list[nn.Parameter]
    gathered: int
    packed: int
    reduced: int
    """bytes of the buffer that its gradients are packed into"""
    part: int
    """bytes of a rank's part of its gradients"""
    root: bool = False
    whole: bool = False
    """gathered now"""
    ahead: bool = False
    """its buffer is there, it is not gathered yet"""
    missing: int = 0
    """gradients that this backward pass has still to make"""


class Gathering:
    """Puts on a tape what a rank holds of units at each moment of its passes."""

    def __init__(self, tape: Tape, model: nn.Module, blocks: tuple[type[nn.Module], ...], holding: Holding):
        self.tape, self.holding = tape, holding
        self.last = True
        """whether this micro-batch is the step's last, after which gradients are divided"""
        self.order: list[Unit] = []
        self.kept = self.packed = 0
        self.units: list[Unit] = []
        taken: set[int] = set()
        inner = [module for module in reversed(list(model.modules())) if isinstance(module, blocks)]
        for module in [*inner, model]:
            own = [each for each in module.parameters() if id(each) not in taken]
            taken |= {id(each) for each in own}
            unit = self._unit(own, root=module is model)
            self.units.append(unit)
            module.register_forward_pre_hook(partial(self._before, unit))
            module.register_forward_hook(partial(self._after, unit))
            for parameter in own:
                parameter.register_post_accumulate_grad_hook(partial(self._gradient, unit))  # type: ignore[no-untyped-call]

    def _unit(self, parameters: list[nn.Parameter], root: bool) -> Unit:
        sizes = [math.prod(self.holding.part_of(each.shape)) for each in parameters]
        kept = [getattr(each, "kept_dtype", each.dtype).itemsize for each in parameters]
        part = sum(size * item for size, item in zip(sizes, kept, strict=True))
        packed = sum(size * each.itemsize for size, each in zip(sizes, parameters, strict=True)) * self.holding.parts
        gathered = sum(each.nbytes for each in parameters)
        return Unit(parameters, gathered, packed, part * self.holding.parts, part, root)

    def _before(self, unit: Unit, _module: nn.Module, _inputs: Any) -> None:
        if in_backward() or unit.whole:
            return
        self.tape.add("other", unit.packed)
        self.tape.add("other", -self.kept)
        self.kept = unit.packed
        self._gather(unit)

    def _after(self, unit: Unit, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if in_backward():
            return
        self.order.append(unit)
        if unit.root:
            self.tape.add("other", -self.kept)
            self.kept = 0
        elif self.holding.reshards:
            self._let_go(unit)
        unit.missing = sum(each.requires_grad for each in unit.parameters)
        for made in tree_iter(output):
            if isinstance(made, Tensor) and made.requires_grad:
                made.register_hook(partial(self._before_backward, unit))  # type: ignore[no-untyped-call]

    def _before_backward(self, unit: Unit, _gradient: Tensor) -> None:
        if not unit.whole:
            self._fetch(unit)
            self._gather(unit)
            self._drop(unit)
        if unit in self.order:
            at = self.order.index(unit)
            del self.order[at:]
            if at > 0 and not self.order[-1].whole:
                self._fetch(self.order[-1])

    def _gradient(self, unit: Unit, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        self.tape.know(parameter.grad, "gradients")
        unit.missing -= 1
        if unit.missing == 0 and not unit.root:
            self._divide(unit)

    def backward_ended(self) -> None:
        """All gradients of this micro-batch are there."""
        for unit in self.units:
            if unit.whole:
                self._divide(unit)
            self._drop(unit)
        self.tape.add("other", -self.packed)
        self.packed = 0
        self.order.clear()

    def _divide(self, unit: Unit) -> None:
        """Let a block go after its backward pass; after the last micro-batch also divide its gradients."""
        self._let_go(unit)
        if not self.last or not any(each.grad is not None for each in unit.parameters):
            return
        self.tape.add("other", -self.packed)
        self.packed = unit.reduced
        self.tape.add("other", unit.reduced)
        for parameter in unit.parameters:
            parameter.grad = None
        self.tape.add("gradients", unit.part)

    def _gather(self, unit: Unit) -> None:
        unit.whole = True
        self.tape.add("parameters", unit.gathered)

    def _let_go(self, unit: Unit) -> None:
        if unit.whole:
            unit.whole = False
            self.tape.add("parameters", -unit.gathered)

    def _fetch(self, unit: Unit) -> None:
        if not unit.ahead:
            unit.ahead = True
            self.tape.add("other", unit.packed)

    def _drop(self, unit: Unit) -> None:
        if unit.ahead:
            unit.ahead = False
            self.tape.add("other", -unit.packed)


def gathered_in(model: nn.Module, dtype: str | None) -> nn.Module:
    """The model in the type that its blocks are gathered in; each parameter is marked with its own."""
    if dtype is None:
        return model
    own = [each.dtype for each in model.parameters()]
    model = model.to(getattr(torch, dtype))
    for parameter, kept in zip(model.parameters(), own, strict=True):
        parameter.kept_dtype = kept  # type: ignore[attr-defined]
    return model
