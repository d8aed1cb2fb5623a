"""Rprop: a step length of its own for each weight, changed by the gradient's sign alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.recipes.optimizers import Epsilon, Fault, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _contradiction(*, step_min: float = 1e-6, step_max: float = 50.0, **_options: object) -> Fault | None:
    return None if step_min <= step_max else ("step_min", f"at most step_max, which is {step_max:g}")


@register(
    "rprop",
    state_per_parameter=2,
    class_name="Rprop",
    weight_decay="none",
    unable={"sharded": "torch's Rprop clears gradients by index in place, which DTensor refuses"},
    contradiction=_contradiction,
    source="https://doi.org/10.1109/ICNN.1993.298623",
)
def rprop(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    eta_minus: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    eta_plus: Annotated[float, Field(gt=1)] = 1.2,
    step_min: Epsilon = 1e-6,
    step_max: Epsilon = 50.0,
    foreach: bool | None = None,
) -> Optimizer:
    """Rprop: w ← w − sign(g)·η; η grows (eta_plus) while the sign stays and shrinks (eta_minus) where it turns.

    lr: the first η of every weight; a schedule changes nothing after it. step_min, step_max: bounds of η. It has no
    weight decay, and is meant for gradients of all data: those of small batches turn too often. foreach: which of
    torch's implementations; left out, torch chooses.
    """
    from torch.optim import Rprop

    return Rprop(groups, lr=lr, etas=(eta_minus, eta_plus), step_sizes=(step_min, step_max), foreach=foreach)
