"""Adam and what was made of it: NAdam (Nesterov momentum), RAdam (rectified), Adamax (infinity norm)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import Beta, Epsilon, one_implementation, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "adam",
    state_per_parameter=lambda *, amsgrad=False, **_options: 3 if amsgrad else 2,
    class_name="Adam",
    contradiction=one_implementation,
    source="https://arxiv.org/abs/1412.6980",
)
def adam(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-8,
    amsgrad: bool = False,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """Adam: w ← w − lr·m̂ ÷ (√v̂ + eps); weight decay is coupled (decay·w is added to the gradient).

    m̂, v̂: running means of the gradient (beta1) and of its square (beta2), corrected for their start at 0.
    amsgrad: the largest v̂ so far in place of v̂. foreach, fused: which of torch's implementations; left out, torch
    chooses.
    """
    from torch.optim import Adam

    return Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=amsgrad, foreach=foreach, fused=fused)


@register(
    "nadam",
    state_per_parameter=2,
    class_name="NAdam",
    source="https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
)
def nadam(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-8,
    momentum_decay: Annotated[float, Field(ge=0)] = 4e-3,
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
) -> Optimizer:
    """NAdam: Adam whose momentum looks one step ahead, as Nesterov's does.

    momentum_decay: at step t beta1 counts as beta1·(1 − 0.96^(t·momentum_decay) ÷ 2); decoupled_weight_decay: as AdamW
    has it, else decay·w is added to the gradient. foreach: which of torch's implementations; left out, torch chooses.
    """
    from torch.optim import NAdam

    return NAdam(
        groups, lr=lr, betas=(beta1, beta2), eps=eps, momentum_decay=momentum_decay,
        decoupled_weight_decay=decoupled_weight_decay, foreach=foreach,
    )  # fmt: skip


@register("radam", state_per_parameter=2, class_name="RAdam", source="https://arxiv.org/abs/1908.03265")
def radam(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-8,
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
) -> Optimizer:
    """RAdam: Adam without its division while the mean of squares is too young to be trusted (a warm-up by itself).

    The first steps are w ← w − lr·m̂; later ones Adam's, times a factor that rises to 1. decoupled_weight_decay: as
    AdamW has it, else decay·w is added to the gradient. foreach: which of torch's implementations; left out, torch
    chooses.
    """
    from torch.optim import RAdam

    return RAdam(
        groups, lr=lr, betas=(beta1, beta2), eps=eps, decoupled_weight_decay=decoupled_weight_decay, foreach=foreach
    )


@register("adamax", state_per_parameter=2, class_name="Adamax", source="https://arxiv.org/abs/1412.6980")
def adamax(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-8,
    foreach: bool | None = None,
) -> Optimizer:
    """Adamax: Adam with u ← max(beta2·u, |g| + eps) in place of √v̂; weight decay is coupled.

    foreach: which of torch's implementations; left out, torch chooses.
    """
    from torch.optim import Adamax

    return Adamax(groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=foreach)
