"""Gradients clipped by their norm."""

from __future__ import annotations

from harness.recipes.regularizers import Regularizer, Weight, register


@register("clipping", source="https://arxiv.org/abs/1211.5063")
def clipping(*, norm: Weight = 1.0) -> Regularizer:
    """g·min(1, norm ÷ ‖g‖): the gradient of all parameters together is at most so long.

    The recipe's key `clip` as a regularizer: in place of the workload's default.
    """
    return Regularizer(recipe={"clip": norm})
