"""Optimizers: parameter groups and a learning rate in, a `torch.optim.Optimizer` out. One file each."""

from __future__ import annotations

from dataclasses import dataclass

from harness.schema.registry import Registry


@dataclass(frozen=True)
class OptimizerFacts:
    """What planning and the page must know of an optimizer.

    state_per_parameter: numbers kept beside each parameter; class_name: what the optimizer must be found to be in the
    training process (None: not checked).
    """

    state_per_parameter: int = 0
    class_name: str | None = None
    source: str = ""


registry: Registry[OptimizerFacts] = Registry(
    "optimizer", "harness.recipes.optimizers", OptimizerFacts, "harness.optimizers"
)
register = registry.register
