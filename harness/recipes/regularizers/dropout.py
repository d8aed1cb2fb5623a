"""Dropout: activations set to 0 at random."""

from __future__ import annotations

from harness.recipes.regularizers import Rate, Regularizer, register


@register("dropout", source="https://jmlr.org/papers/v15/srivastava14a.html")
def dropout(*, rate: Rate = 0.1) -> Regularizer:
    """In training an activation is 0 with probability `rate`, else divided by 1 − rate; where: the workload says.

    Off in the first steps, which parity compares.
    """
    return Regularizer(workload={"dropout": rate})
