"""LAMB: Adam with a length for each layer's step, for large batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import INSTALL, PACKAGE, Beta, Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "lamb",
    state_per_parameter=2,
    class_name="Lamb",
    weight_decay="decoupled",
    unable={
        "sharded": "pytorch_optimizer's Lamb bounds norms in place, which DTensor refuses (in-place placement change)",
        "flat": "lamb goes by the norm of each parameter, and this strategy flattens parameters",
    },
    requires=(PACKAGE,),
    install=INSTALL,
    source="https://arxiv.org/abs/1904.00962",
)
def lamb(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-6,
    foreach: bool | None = None,
) -> Optimizer:
    """LAMB: w ← w − lr·(‖w‖ ÷ ‖u‖)·u with u = m ÷ (√v + eps) + decay·w; norms are those of each parameter.

    The paper's third version: m and v are not corrected for their start at 0, ‖w‖ counts as 10 at most, and a
    parameter that is 0 takes the step lr·u. Two defaults of the package are not the paper's and are set as it has them:
    weight decay outside u, and a first step that is 1 ÷ (1 − beta1) times as long. foreach: which of the package's
    implementations; left out, it chooses.
    """
    from pytorch_optimizer import Lamb

    optimizer: Optimizer = Lamb(
        groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=foreach, weight_decouple=False, adam_debias=True
    )
    return optimizer
