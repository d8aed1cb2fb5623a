"""Optimizers: parameter groups and a learning rate in, a `torch.optim.Optimizer` out. One file each, or one per family.

Any other optimizer is named by its dotted path (`optimizer = "my_package.MyOptimizer"`): see `recipes/by_path`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from harness.machine.packages import extra
from harness.schema.registry import Entry, Registry
from harness.strategies import Equivalence, Layout, Requirements

Beta: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""Share of a running mean that is kept at each step."""
Epsilon: TypeAlias = Annotated[float, Field(gt=0)]
"""What keeps a division from being by 0."""
Fault: TypeAlias = tuple[str, str]
"""An option and what is expected of it."""
PACKAGE, INSTALL = "pytorch_optimizer", extra("optimizers")
"""Where optimizers come from that torch does not have. Source: https://github.com/kozistr/pytorch_optimizer"""


@dataclass(frozen=True)
class OptimizerFacts(Requirements):
    """What planning and the page must know of an optimizer.

    class_name: what the optimizer must be found to be in the training process (None: not checked); weight_decay:
    coupled (an L2 penalty: added to the gradient), decoupled (the weight shrinks by itself) or none; unable: what a
    strategy makes of the parameters (see `strategies.Layout`) → why this optimizer cannot update them; reordered: how
    near one process a strategy is with this optimizer that sums gradients in another order.
    """

    state_per_parameter: int | Callable[..., int] = 0
    """numbers kept beside each number that is trained, or (**options) → so many; scalars (step counts) left out"""
    state_of_shape: Callable[..., int] | None = None
    """(shape of a parameter, is it a hidden matrix?, **options) → numbers kept for it, where they depend on that"""
    class_name: str | None = None
    weight_decay: Literal["coupled", "decoupled", "none"] = "coupled"
    unable: Mapping[Layout, str] = field(default_factory=dict)
    reordered: Equivalence = "reordered"
    splits_hidden: bool = False
    """hidden matrices (two dimensions, no embedding) get parameter groups of their own, marked `hidden`"""
    contradiction: Callable[..., Fault | None] | None = None
    """(**options) → an option that contradicts another and what is expected of it, or None"""
    source: str = ""

    def numbers_kept(self, shape: Sequence[int], options: Mapping[str, Any], hidden: bool = False) -> int:
        """Numbers of state that are kept for a parameter of that shape, scalars left out."""
        if self.state_of_shape is not None:
            return self.state_of_shape(tuple(shape), hidden, **options)
        each = self.state_per_parameter
        return math.prod(shape) * (each(**options) if callable(each) else each)


class OptimizerRegistry(Registry[OptimizerFacts]):
    """The registered optimizers, and any other by its dotted path."""

    def __getitem__(self, name: str) -> Entry[OptimizerFacts]:
        """The entry of that name, or one made for a dotted path. Raises UnknownName."""
        if "." not in name or name in self._entries:
            return super().__getitem__(name)
        from harness.recipes.by_path import entry_of

        return entry_of(name)

    def __contains__(self, name: str) -> bool:
        return "." in name or super().__contains__(name)


def one_implementation(*, foreach: bool | None = None, fused: bool | None = None, **_options: object) -> Fault | None:
    """Contradiction of optimizers that have both: torch takes one of its implementations."""
    return ("fused", "false, or foreach = false: torch takes one of the two") if foreach and fused else None


registry = OptimizerRegistry("optimizer", "harness.recipes.optimizers", OptimizerFacts, "harness.optimizers")
register = registry.register
