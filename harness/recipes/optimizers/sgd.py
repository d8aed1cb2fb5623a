"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "sgd",
    state_per_parameter=1,
    class_name="SGD",
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html",
)
def sgd(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    nesterov: bool = False,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """SGD: v ← momentum·v + g + decay·w; w ← w − lr·v; weight decay is coupled (an L2 penalty).

    nesterov: w ← w − lr·(g + decay·w + momentum·v). foreach, fused: which of torch's implementations; left out,
    torch chooses.
    """
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, foreach=foreach, fused=fused)
