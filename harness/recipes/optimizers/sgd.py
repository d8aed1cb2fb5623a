"""Stochastic gradient descent with momentum, plain or Nesterov's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import Beta, Fault, one_implementation, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _contradiction(*, momentum: float = 0.9, nesterov: bool = False, **options: Any) -> Fault | None:
    if nesterov and momentum == 0:
        return "momentum", "greater than 0: Nesterov's momentum is one"
    return one_implementation(**options)


@register(
    "sgd",
    state_per_parameter=lambda *, momentum=0.9, **_options: int(momentum > 0),
    class_name="SGD",
    contradiction=_contradiction,
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html",
)
def sgd(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    momentum: Beta = 0.9,
    nesterov: bool = False,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """SGD: v ← momentum·v + g + decay·w; w ← w − lr·v; weight decay is coupled (an L2 penalty).

    momentum: 0 is plain gradient descent; nesterov: w ← w − lr·(g + decay·w + momentum·v). foreach, fused: which of
    torch's implementations; left out, torch chooses.
    """
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, foreach=foreach, fused=fused)
