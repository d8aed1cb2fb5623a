"""torch's L-BFGS as an optimizer that is stepped like any other: the gradient is there, nothing is evaluated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim import LBFGS

if TYPE_CHECKING:
    from torch.nn import Parameter


class OneIterationLBFGS(LBFGS):
    """One iteration per step, without line search.

    torch's class asks a closure for loss and gradient, first of all once; with one iteration and no line search it
    never asks again, and of the loss nothing depends. So the gradient that training left is used as it is.
    """

    def __init__(self, parameters: list[Parameter], lr: float, **options: Any):
        super().__init__(parameters, lr=lr, max_iter=1, line_search_fn=None, **options)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update the parameters by the gradients they have; a closure is asked first, where there is one."""
        return super().step(closure or _gradients_are_there)  # type: ignore[no-untyped-call]


def _gradients_are_there() -> float:
    return 0.0
