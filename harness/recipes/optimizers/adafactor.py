"""Adafactor: squared gradients of a matrix kept as one row and one column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _row_and_column(shape: tuple[int, ...], _hidden: bool, **_options: object) -> int:
    if len(shape) < 2:
        return math.prod(shape)
    return math.prod(shape) // shape[-1] + math.prod(shape) // shape[-2]


@register(
    "adafactor",
    state_of_shape=_row_and_column,
    class_name="Adafactor",
    weight_decay="decoupled",
    unable={
        "sharded": "torch's Adafactor changes norms in place, which DTensor refuses (in-place placement change)",
        "flat": "adafactor keeps rows and columns of matrices, and this strategy flattens parameters",
    },
    source="https://arxiv.org/abs/1804.04235",
)
def adafactor(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    beta2_decay: Annotated[float, Field(le=0)] = -0.8,
    eps1: Epsilon | None = None,
    eps2: Epsilon = 1e-3,
    d: Annotated[float, Field(ge=1)] = 1.0,
    foreach: bool | None = None,
) -> Optimizer:
    """Adafactor: w ← w − α·g ÷ √(row·column of v), α = max(eps2, RMS(w))·min(lr, 1 ÷ √t); weight decay is decoupled.

    Of a matrix's v only the means of rows and columns are kept: memory grows with the sides, not with the area.
    beta2_decay: at step t the share of v that is kept is 1 − t^beta2_decay; eps1: least v (left out: the type's own);
    eps2: least RMS of a weight; d: largest RMS of an update. foreach: which of torch's implementations; left out,
    torch chooses.
    """
    from torch.optim import Adafactor

    return Adafactor(groups, lr=lr, beta2_decay=beta2_decay, eps=(eps1, eps2), d=d, foreach=foreach)
