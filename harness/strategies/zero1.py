"""ZeRO stage 1: DDP whose optimizer state is divided among the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Construct, Groups, Holding, Place, Wrapped, register
from harness.strategies.ddp import ddp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from torch.optim import Optimizer


def _holds(_model: nn.Module, place: Place, **_options: object) -> Holding:
    return Holding(updated=lambda parameters: largest_part(parameters, place.world_size), buckets="beside")


def largest_part(parameters: Sequence[nn.Parameter], ranks: int) -> list[nn.Parameter]:
    """Parameters of the rank that is given most: `ZeroRedundancyOptimizer` gives each, the largest first, to the rank
    with least. It does so within each parameter group; groups are taken as one here.
    """
    parts: list[list[nn.Parameter]] = [[] for _ in range(ranks)]
    given = [0] * ranks
    for parameter in sorted(parameters, key=lambda each: each.numel(), reverse=True):
        least = given.index(min(given))
        parts[least].append(parameter)
        given[least] += parameter.numel()
    return parts[given.index(max(given))]


@register(
    "zero1",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="some",
    holds=_holds,
    source="https://docs.pytorch.org/docs/stable/distributed.optim.html",
)
def zero1(model: nn.Module, place: Place, *, parameters_as_bucket_view: bool = False) -> Wrapped:
    """DDP with `ZeroRedundancyOptimizer`: each rank updates its part of the parameters and sends it to the others.

    parameters_as_bucket_view: parameters are packed into buckets, which makes the sending quicker.
    Left out: overlap with DDP's backward pass, which may hang on gloo.
    """

    def optimizer(groups: Groups, construct: Construct) -> Optimizer:
        from torch.distributed.optim import ZeroRedundancyOptimizer

        def local(params: Groups, **_defaults: object) -> Optimizer:
            return construct(params)

        return ZeroRedundancyOptimizer(
            groups,
            optimizer_class=local,  # type: ignore[arg-type]
            parameters_as_bucket_view=parameters_as_bucket_view,
            lr=construct(groups).defaults["lr"],
        )

    wrapped = ddp(model, place)
    wrapped.optimizer = optimizer
    wrapped.expected["optimizer_state_share"] = (0.0, 1 / place.world_size + 0.25)
    return wrapped
