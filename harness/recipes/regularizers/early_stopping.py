"""Early stopping: the end of training once held-out evaluation no longer gets better."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.recipes.regularizers import EarlyStop, Fault, Regularizer, register
from harness.recipes.schedules import Length


def _too_few_evaluations(length: Length, *, patience: int = 3, **_options: object) -> Fault | None:
    least = patience + 2
    if length.evaluations >= least:
        return None
    return "patience", (
        f"a number of evaluations that the run has: with {patience} it can end before the last of {least} at the "
        f"earliest, and it has {length.evaluations} (see eval_every)"
    )


@register(
    "early_stopping",
    misfit=_too_few_evaluations,
    source="https://doi.org/10.1007/3-540-49430-8_3",
)
def early_stopping(
    *, patience: Annotated[int, Field(ge=1)] = 3, min_delta: Annotated[float, Field(ge=0)] = 0.0
) -> Regularizer:
    """The timed window ends after `patience` held-out evaluations in a row that were no better than the best.

    It goes by the workload's metric, at the evaluations of `eval_every` after the parity steps, and ends a timed
    window, never the warm-up. min_delta: what a value must be better by, in the metric's unit. Weights are those of the
    last step; the trial is judged by its best evaluation (`best_<metric>`).
    """
    return Regularizer(stop=EarlyStop(patience, min_delta))
