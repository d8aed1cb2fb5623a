"""L2 penalty: half the sum of squared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.recipes.regularizers import Penalty, Regularizer, Weight, register

if TYPE_CHECKING:
    from torch import Tensor


@register("l2", source="https://doi.org/10.1080/00401706.1970.10488634")
def l2(*, weight: Weight = 1e-4) -> Regularizer:
    """Loss + weight ÷ 2·Σw², over matrices and kernels (what weight decay applies to).

    Its gradient, weight·w, is added once per optimizer step to the gradient of the mean loss, before clipping. The same
    as coupled weight decay but for clipping, which comes after; under AdamW, whose decay is decoupled, another thing.
    """

    def value(weights: list[Tensor]) -> Tensor:
        import torch

        return weight / 2 * torch.stack(torch._foreach_norm(weights, 2, dtype=torch.float32)).square().sum()

    def add_gradient(gradients: list[Tensor], weights: list[Tensor]) -> None:
        import torch

        torch._foreach_add_(gradients, weights, alpha=weight)

    return Regularizer(penalty=Penalty(value, add_gradient))
