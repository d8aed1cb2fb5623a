"""Label smoothing: a share of each target is spread over all classes."""

from __future__ import annotations

from harness.recipes.regularizers import Rate, Regularizer, register


@register("label_smoothing", source="https://arxiv.org/abs/1512.00567")
def label_smoothing(*, amount: Rate = 0.1) -> Regularizer:
    """Trained on (1 − amount)·target + amount ÷ classes; the loss of training alone, never what is evaluated."""
    return Regularizer(workload={"label_smoothing": amount})
