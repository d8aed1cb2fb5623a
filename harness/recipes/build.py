"""A recipe put together: parameter groups, optimizer, learning-rate schedule."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.recipes import optimizers, schedules
from harness.schema.suite import Recipe
from harness.strategies import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

    from harness.strategies import Construct, Groups

    Own = Callable[[Groups, Construct], Optimizer]


def build_optimizer(
    model: nn.Module, recipe: Recipe, total_steps: int, own: Own | None = None
) -> tuple[Optimizer, LambdaLR]:
    """Optimizer over the model's trainable parameters and a schedule that is stepped once per optimizer step.

    model: as the strategy left it, since sharding replaces parameters; recipe: complete; total_steps: what the
    schedule is laid over; own: the strategy's way of making an optimizer of the recipe's (see strategies.Wrapped).
    Raises Unsupported where the optimizer cannot update what the strategy made of the parameters.
    """
    from torch.optim.lr_scheduler import LambdaLR

    assert recipe.optimizer is not None
    assert recipe.schedule is not None
    assert recipe.lr is not None
    entry = optimizers.registry[recipe.optimizer.name]
    groups = decay_groups(model, recipe.weight_decay or 0.0, entry.facts.splits_hidden)
    if (reason := entry.facts.unable.get("sharded")) and _any_sharded(groups):
        raise Unsupported(reason)
    options, lr = recipe.optimizer.options, recipe.lr

    def construct(given: Groups) -> Optimizer:
        optimizer: Optimizer = entry.function(given, lr, **options)
        return optimizer

    optimizer = own(groups, construct) if own is not None else construct(groups)
    multiplier = schedules.registry[recipe.schedule.name].function(total_steps, **recipe.schedule.options)
    return optimizer, LambdaLR(optimizer, multiplier)


def decay_groups(model: nn.Module, weight_decay: float, splits_hidden: bool = False) -> list[dict[str, Any]]:
    """Two parameter groups: weight decay for matrices and kernels (two dimensions or more), none for norms and biases.

    A sharded parameter has the dimensions of the whole one. Empty groups are left out; parameters on other meshes of
    devices make groups of their own, since one operation cannot take both (`foreach`). splits_hidden: matrices that
    are no embedding are apart from other decayed parameters, marked `hidden`.
    """
    from torch import nn

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    hidden = [each for each in trained if splits_hidden and each.ndim == 2 and id(each) not in embeddings]
    apart = {id(parameter) for parameter in hidden}
    decayed = [parameter for parameter in trained if parameter.ndim >= 2 and id(parameter) not in apart]
    rest = [parameter for parameter in trained if parameter.ndim < 2]
    groups = [{"params": alike, "weight_decay": weight_decay, "hidden": True} for alike in by_mesh(hidden)]
    for part, decay in ((decayed, weight_decay), (rest, 0.0)):
        groups += [{"params": alike, "weight_decay": decay} for alike in by_mesh(part)]
    return groups


def by_mesh(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters in groups that one operation may take together: plain ones, and those of each mesh of devices."""
    from torch.distributed.tensor import DTensor

    groups: dict[object, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.device_mesh if isinstance(parameter, DTensor) else None, []).append(parameter)
    return list(groups.values())


def _any_sharded(groups: Iterable[dict[str, Any]]) -> bool:
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"])


@contextmanager
def weights_to_judge(optimizer: Optimizer) -> Iterator[None]:
    """While this is open, the model has the weights that the optimizer's authors evaluate, where it tells them apart.

    Schedule-free optimizers train at one point and evaluate an average; they switch by `eval()` and `train()`. The way
    there and back changes weights by roundings, after the same steps in every cell.
    """
    judged, trained = getattr(optimizer, "eval", None), getattr(optimizer, "train", None)
    if judged is None or trained is None:
        yield
        return
    judged()
    try:
        yield
    finally:
        trained()


def expected_facts(recipe: Recipe) -> dict[str, Any]:
    """Facts that must be seen on the live optimizer: its class, and the implementation that was asked for."""
    assert recipe.optimizer is not None
    asked = {name: recipe.optimizer.options.get(name) for name in ("fused", "foreach")}
    asked["optimizer"] = optimizers.registry[recipe.optimizer.name].facts.class_name
    return {fact: value for fact, value in asked.items() if value is not None}


def group_facts(optimizer: Optimizer) -> dict[str, int]:
    """Count the parameters with and without weight decay, of the whole model also where it is sharded.

    An engine that puts its own parts of parameters into the groups leaves the count as `whole` there. An optimizer
    without weight decay (L-BFGS) may have groups that say nothing of it.
    """
    counts = {"decayed_parameters": 0, "undecayed_parameters": 0}
    for group in optimizer.param_groups:
        name = "decayed_parameters" if group.get("weight_decay", 0.0) > 0 else "undecayed_parameters"
        counts[name] += group.get("whole") or sum(parameter.numel() for parameter in group["params"])
    return counts
