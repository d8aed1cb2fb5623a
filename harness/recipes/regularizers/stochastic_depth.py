"""Stochastic depth: residual branches left out at random."""

from __future__ import annotations

from harness.recipes.regularizers import Rate, Regularizer, register


@register("stochastic_depth", source="https://arxiv.org/abs/1603.09382")
def stochastic_depth(*, rate: Rate = 0.1) -> Regularizer:
    """In training a sample skips the residual branch of block l of L with probability rate·l ÷ L, else ÷ (1 − that).

    Off in the first steps, which parity compares.
    """
    return Regularizer(workload={"stochastic_depth": rate})
