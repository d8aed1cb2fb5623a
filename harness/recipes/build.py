"""A recipe put together: parameter groups, optimizer, learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes import optimizers, schedules
from harness.schema.suite import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from harness.strategies import Construct, Groups

    Own = Callable[[Groups, Construct], Optimizer]


def build_optimizer(
    model: nn.Module, recipe: Recipe, total_steps: int, own: Own | None = None
) -> tuple[Optimizer, LRScheduler]:
    """Optimizer over the model's trainable parameters and a schedule that is stepped once per optimizer step.

    model: as the strategy left it, since sharding replaces parameters; recipe: complete; total_steps: what the
    schedule is laid over; own: the strategy's way of making an optimizer of the recipe's (see strategies.Wrapped).
    """
    from torch.optim.lr_scheduler import LambdaLR

    assert recipe.optimizer is not None
    assert recipe.schedule is not None
    assert recipe.lr is not None
    chosen = optimizers.registry[recipe.optimizer.name].function
    groups = decay_groups(model, recipe.weight_decay or 0.0)
    options, lr = recipe.optimizer.options, recipe.lr

    def construct(given: Groups) -> Optimizer:
        optimizer: Optimizer = chosen(given, lr, **options)
        return optimizer

    optimizer = own(groups, construct) if own is not None else construct(groups)
    multiplier = schedules.registry[recipe.schedule.name].function(total_steps, **recipe.schedule.options)
    return optimizer, LambdaLR(optimizer, multiplier)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: weight decay for matrices and kernels (two dimensions or more), none for norms and biases.

    A sharded parameter has the dimensions of the whole one. Empty groups are left out; parameters on other meshes of
    devices make groups of their own, since one operation cannot take both (`foreach`).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim >= 2]
    rest = [parameter for parameter in trained if parameter.ndim < 2]
    parts = [(decayed, weight_decay), (rest, 0.0)]
    return [{"params": alike, "weight_decay": decay} for part, decay in parts for alike in by_mesh(part)]


def by_mesh(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters in groups that one operation may take together: plain ones, and those of each mesh of devices."""
    from torch.distributed.tensor import DTensor

    groups: dict[object, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.device_mesh if isinstance(parameter, DTensor) else None, []).append(parameter)
    return list(groups.values())


def expected_facts(recipe: Recipe) -> dict[str, Any]:
    """Facts that must be seen on the live optimizer: its class, and the implementation that was asked for."""
    assert recipe.optimizer is not None
    asked = {name: recipe.optimizer.options.get(name) for name in ("fused", "foreach")}
    asked["optimizer"] = optimizers.registry[recipe.optimizer.name].facts.class_name
    return {fact: value for fact, value in asked.items() if value is not None}


def group_facts(optimizer: Optimizer) -> dict[str, int]:
    """Count the parameters with and without weight decay, of the whole model also where it is sharded.

    An engine that puts its own parts of parameters into the groups leaves the count as `whole` there.
    """
    counts = {"decayed_parameters": 0, "undecayed_parameters": 0}
    for group in optimizer.param_groups:
        name = "decayed_parameters" if group["weight_decay"] > 0 else "undecayed_parameters"
        counts[name] += group.get("whole") or sum(parameter.numel() for parameter in group["params"])
    return counts
