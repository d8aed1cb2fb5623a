"""Schedule-free AdamW: an average of the weights in place of a falling learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import INSTALL, PACKAGE, Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "schedulefree_adamw",
    state_per_parameter=2,
    class_name="ScheduleFreeAdamW",
    weight_decay="decoupled",
    unable={
        "some": "schedulefree_adamw evaluates an average of the weights, and each rank has that of its own part only",
        "flat": "schedulefree_adamw evaluates an average of the weights, and each rank has that of its own part only",
    },
    requires=(PACKAGE,),
    install=INSTALL,
    source="https://arxiv.org/abs/2405.15682",
)
def schedulefree_adamw(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    eps: Epsilon = 1e-8,
    r: Annotated[float, Field(ge=0)] = 0.0,
    weight_lr_power: Annotated[float, Field(ge=0)] = 2.0,
    foreach: bool | None = None,
) -> Optimizer:
    """Schedule-free AdamW: gradients at y = (1 − beta1)·z + beta1·x; z takes Adam's steps, x is its running average.

    Trained are the y, evaluated the x. Meant for the schedule `constant` with a warm-up. A step's weight in x is
    step^r × (largest learning rate so far)^weight_lr_power. Weight decay is taken at y, apart from Adam's division.
    foreach: which of the package's implementations; left out, it chooses.
    """
    from pytorch_optimizer import ScheduleFreeAdamW

    optimizer: Optimizer = ScheduleFreeAdamW(
        groups, lr=lr, betas=(beta1, beta2), eps=eps, r=r, weight_lr_power=weight_lr_power, foreach=foreach
    )
    return optimizer
