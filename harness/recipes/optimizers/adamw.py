"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register("adamw", state_per_parameter=2, class_name="AdamW", source="https://arxiv.org/abs/1711.05101")
def adamw(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    eps: Annotated[float, Field(gt=0)] = 1e-8,
    foreach: bool | None = None,
    fused: bool | None = None,
) -> Optimizer:
    """AdamW: w ← w − lr·(m̂ ÷ (√v̂ + eps) + decay·w); weight decay is decoupled from the gradient.

    m̂, v̂: running means of the gradient (beta1) and of its square (beta2), corrected for their start at 0.
    foreach, fused: which of torch's implementations; left out, torch chooses.
    """
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=foreach, fused=fused)
