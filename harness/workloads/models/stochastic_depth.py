"""Stochastic depth: in training a residual branch is left out for some samples, deeper ones more often.

Source: https://arxiv.org/abs/1603.09382
"""

from __future__ import annotations

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """A branch's output (samples, …) times 0 or 1 ÷ (1 − rate) for each sample; unchanged in evaluation.

    At rate 0 no random number is drawn.
    """

    def __init__(self, drop_rate: float = 0.0):
        super().__init__()
        self.drop_rate = float(drop_rate)

    def forward(self, branch: Tensor) -> Tensor:
        """Leave it out for some samples."""
        if not self.training or self.drop_rate == 0:
            return branch
        kept = 1 - self.drop_rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        return branch * (branch.new_empty(shape).bernoulli_(kept) / kept)

    def extra_repr(self) -> str:
        """The rate."""
        return f"drop_rate={self.drop_rate:g}"


def rate_at(number: int, blocks: int, largest: float) -> float:
    """Drop rate of block `number` (0-based): from largest ÷ blocks at the first, linearly, to `largest` at the last."""
    return largest * (number + 1) / blocks
