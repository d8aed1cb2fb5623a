"""Weight decay, by the optimizer's own rule."""

from __future__ import annotations

from harness.recipes.regularizers import Regularizer, Weight, register


@register("weight_decay", source="https://arxiv.org/abs/1711.05101")
def weight_decay(*, decay: Weight = 0.1) -> Regularizer:
    """The optimizer's weight decay: w shrinks by lr·decay·w where it is decoupled, gradient + decay·w where coupled.

    The recipe's key of the same name as a regularizer: in place of the workload's default. Norms and biases have none.
    """
    return Regularizer(recipe={"weight_decay": decay})
