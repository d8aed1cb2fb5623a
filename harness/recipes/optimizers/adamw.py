"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import Beta, Epsilon, one_implementation, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "adamw",
    state_per_parameter=lambda *, amsgrad=False, **_options: 3 if amsgrad else 2,
    class_name="AdamW",
    weight_decay="decoupled",
    contradiction=one_implementation,
    source="https://arxiv.org/abs/1711.05101",
)
def adamw(
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
    """AdamW: w ← w − lr·(m̂ ÷ (√v̂ + eps) + decay·w); weight decay is decoupled from the gradient.

    m̂, v̂: running means of the gradient (beta1) and of its square (beta2), corrected for their start at 0.
    amsgrad: the largest v̂ so far in place of v̂. foreach, fused: which of torch's implementations; left out, torch
    chooses.
    """
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=amsgrad, foreach=foreach, fused=fused)
