"""L1 penalty: the sum of absolute weights, which drives small ones to 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.recipes.regularizers import Penalty, Regularizer, Weight, register

if TYPE_CHECKING:
    from torch import Tensor


@register("l1", source="https://doi.org/10.1111/j.2517-6161.1996.tb02080.x")
def l1(*, weight: Weight = 1e-5) -> Regularizer:
    """Loss + weight·Σ|w|, over matrices and kernels (what weight decay applies to).

    Its gradient, weight·sign(w), is added once per optimizer step to the gradient of the mean loss, before clipping.
    """

    def value(weights: list[Tensor]) -> Tensor:
        import torch

        return weight * torch.stack(torch._foreach_norm(weights, 1, dtype=torch.float32)).sum()

    def add_gradient(gradients: list[Tensor], weights: list[Tensor]) -> None:
        import torch

        torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=weight)

    return Regularizer(penalty=Penalty(value, add_gradient))
