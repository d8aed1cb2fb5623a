"""Lion: the sign of the momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.recipes.optimizers import INSTALL, PACKAGE, Beta, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


@register(
    "lion",
    state_per_parameter=1,
    class_name="Lion",
    weight_decay="decoupled",
    requires=(PACKAGE,),
    install=INSTALL,
    source="https://arxiv.org/abs/2302.06675",
)
def lion(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.9,
    beta2: Beta = 0.99,
    foreach: bool | None = None,
) -> Optimizer:
    """Lion: w ← w − lr·(sign(beta1·m + (1 − beta1)·g) + decay·w); m ← beta2·m + (1 − beta2)·g.

    Every weight moves by lr: a third to a tenth of AdamW's learning rate, with as many times its weight decay. foreach:
    which of the package's implementations; left out, it chooses.
    """
    from pytorch_optimizer import Lion

    optimizer: Optimizer = Lion(groups, lr=lr, betas=(beta1, beta2), foreach=foreach)
    return optimizer
