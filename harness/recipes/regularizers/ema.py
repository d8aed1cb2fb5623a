"""An exponential moving average of the weights, evaluated in their place."""

from __future__ import annotations

from harness.recipes.regularizers import Rate, Regularizer, register


@register("ema", source="https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html")
def ema(*, decay: Rate = 0.99) -> Regularizer:
    """Average ← decay·average + (1 − decay)·w after each step, from the first's weights on; evaluated in place of w.

    Training goes on from w and is the same as without. It remembers about 1 ÷ (1 − decay) steps: take fewer than the
    run has. The average is as large as the parameters, in fp32; BatchNorm's statistics are taken anew for it.
    """
    return Regularizer(average=decay)
