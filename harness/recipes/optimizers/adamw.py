"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register("adamw", state_per_parameter=2, source="https://arxiv.org/abs/1711.05101")
def adamw(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """AdamW: steps divided by the root of the gradient's running square; decay w ← w − lr·decay·w apart from it."""
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=foreach, fused=fused)
