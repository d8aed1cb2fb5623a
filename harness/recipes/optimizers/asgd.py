"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register("asgd", state_per_parameter=1, class_name="ASGD", source="https://doi.org/10.1137/0330046")
def asgd(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    lambd: Annotated[float, Field(ge=0)] = 1e-4,
    alpha: Annotated[float, Field(ge=0)] = 0.75,
    t0: Annotated[float, Field(ge=0)] = 1e6,
    foreach: bool | None = None,
) -> Optimizer:
    """ASGD: w ← (1 − lambd·η)·w − η·(g + decay·w) with η = lr ÷ (1 + lambd·lr·t)^alpha; weight decay is coupled.

    t0: steps before the average of the weights begins. torch keeps that average beside the weights and neither trains
    nor evaluates it: what is judged here are the weights. foreach: which of torch's implementations; left out, torch
    chooses.
    """
    from torch.optim import ASGD

    return ASGD(groups, lr=lr, lambd=lambd, alpha=alpha, t0=t0, foreach=foreach)
