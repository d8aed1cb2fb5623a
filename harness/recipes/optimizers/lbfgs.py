"""L-BFGS, one iteration per step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _history(shape: tuple[int, ...], _hidden: bool, *, history_size: int = 10, **_options: object) -> int:
    return math.prod(shape) * (2 + 2 * history_size)


@register(
    "lbfgs",
    state_of_shape=_history,
    class_name="OneIterationLBFGS",
    weight_decay="none",
    unable={
        "sharded": "lbfgs makes one vector of all gradients: DTensor refuses where a parameter does not divide evenly",
        "some": "lbfgs has one direction for all parameters: ranks that knew their own part only would go another way",
        "flat": "lbfgs has one direction for all parameters: ranks that knew their own part only would go another way",
    },
    source="https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html",
)
def lbfgs(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    history_size: Annotated[int, Field(ge=1)] = 10,
    tolerance_grad: Epsilon = 1e-7,
    tolerance_change: Epsilon = 1e-9,
) -> Optimizer:
    """L-BFGS: w ← w − lr·H·g, H made of the last `history_size` steps and changes of the gradient.

    One iteration per step and no line search: the gradient of the step is all it needs, as for every other optimizer
    here. The first step is of length lr·min(1, 1 ÷ ‖g‖₁). history_size: pairs kept, each twice the parameters;
    tolerance_grad, tolerance_change: where the gradient or the descent is smaller, the weights stay. It has no weight
    decay, reads a value back from the device in each step, and the noise of small batches spoils H.
    """
    from harness.recipes.lbfgs_step import OneIterationLBFGS

    parameters = [parameter for group in groups for parameter in group["params"]]
    return OneIterationLBFGS(
        parameters, lr, history_size=history_size, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change
    )
