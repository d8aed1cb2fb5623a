"""ZeRO stage 1: DDP whose optimizer state is divided among the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.strategies import Construct, Groups, Place, Wrapped, register
from harness.strategies.ddp import ddp

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


@register(
    "zero1",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="some",
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
