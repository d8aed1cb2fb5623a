"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import INSTALL, PACKAGE, Beta, Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _moments_and_bases(
    shape: tuple[int, ...], _hidden: bool, *, max_precondition_dim: int = 10_000, **_options: object
) -> int:
    sides = [side for side in shape if side <= max_precondition_dim] if len(shape) > 1 else []
    return 2 * math.prod(shape) + 2 * sum(side**2 for side in sides)


@register(
    "soap",
    state_of_shape=_moments_and_bases,
    class_name="SOAP",
    weight_decay="decoupled",
    unable={
        "sharded": "pytorch_optimizer's SOAP mixes its matrices, which are plain tensors, with DTensor gradients",
        "flat": "soap goes by the sides of matrices, and this strategy flattens parameters",
    },
    reordered="approximate",
    requires=(PACKAGE,),
    install=INSTALL,
    source="https://arxiv.org/abs/2409.11321",
)
def soap(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta1: Beta = 0.95,
    beta2: Beta = 0.95,
    shampoo_beta: Beta | None = None,
    precondition_frequency: Annotated[int, Field(ge=1)] = 10,
    max_precondition_dim: Annotated[int, Field(ge=1)] = 10_000,
    eps: Epsilon = 1e-8,
) -> Optimizer:
    """SOAP: Adam's step in the eigenbasis of the running means of g·gᵀ and gᵀ·g, turned back to the weights.

    shampoo_beta: of those means (left out: beta2); precondition_frequency: steps between new eigenbases (one round of
    power iteration and QR); max_precondition_dim: longer sides of a parameter keep their own basis. Two matrices are
    kept for each side. The first step makes the bases and moves nothing; norms and biases get Adam's step. Where
    eigenvalues are equal (few samples leave many at 0) roundings choose the basis, so that sums in another order give
    another, equally valid step.
    """
    from pytorch_optimizer import SOAP

    optimizer: Optimizer = SOAP(
        groups, lr=lr, betas=(beta1, beta2), shampoo_beta=shampoo_beta, precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dim, eps=eps,
    )  # fmt: skip
    return optimizer
