"""Optimizers that divide by a sum or mean of squared gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import Beta, Epsilon, one_implementation, register
from harness.strategies import Setting

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _no_fused_kernel(setting: Setting, *, fused: bool | None = None, **_options: object) -> str | None:
    return "torch has no fused Adagrad for cuda" if fused and setting.kind == "cuda" else None


@register(
    "adagrad",
    state_per_parameter=1,
    class_name="Adagrad",
    contradiction=one_implementation,
    impossible=_no_fused_kernel,
    source="https://jmlr.org/papers/v12/duchi11a.html",
)
def adagrad(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    initial_accumulator_value: Annotated[float, Field(ge=0)] = 0.0,
    eps: Epsilon = 1e-10,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """Adagrad: s ← s + g²; w ← w − lr·g ÷ (√s + eps); weight decay is coupled.

    initial_accumulator_value: s before the first step. Left out: torch's `lr_decay`, which is a schedule. foreach,
    fused: which of torch's implementations; left out, torch chooses.
    """
    from torch.optim import Adagrad

    return Adagrad(
        groups, lr=lr, initial_accumulator_value=initial_accumulator_value, eps=eps, foreach=foreach, fused=fused
    )


@register("adadelta", state_per_parameter=2, class_name="Adadelta", source="https://arxiv.org/abs/1212.5701")
def adadelta(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    rho: Beta = 0.9,
    eps: Epsilon = 1e-6,
    foreach: bool | None = None,
) -> Optimizer:
    """Adadelta: w ← w − lr·g·√(d + eps) ÷ √(v + eps); weight decay is coupled. Its own learning rate is 1.

    v, d: running means (rho) of the squares of gradients and of updates. foreach: which of torch's implementations;
    left out, torch chooses.
    """
    from torch.optim import Adadelta

    return Adadelta(groups, lr=lr, rho=rho, eps=eps, foreach=foreach)


@register(
    "rmsprop",
    state_per_parameter=lambda *, momentum=0.0, centered=False, **_options: 1 + (momentum > 0) + centered,
    class_name="RMSprop",
    source="https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf",
)
def rmsprop(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    alpha: Beta = 0.99,
    eps: Epsilon = 1e-8,
    momentum: Beta = 0.0,
    centered: bool = False,
    foreach: bool | None = None,
) -> Optimizer:
    """RMSprop: v ← alpha·v + (1 − alpha)·g²; w ← w − lr·g ÷ (√v + eps); weight decay is coupled.

    momentum: of the divided gradient; centered: v less the square of the gradient's running mean, an estimate of its
    variance. foreach: which of torch's implementations; left out, torch chooses.
    """
    from torch.optim import RMSprop

    return RMSprop(groups, lr=lr, alpha=alpha, eps=eps, momentum=momentum, centered=centered, foreach=foreach)
