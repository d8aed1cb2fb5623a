"""The centre of a few log ratios and its interval, whatever their distribution, as long as it is symmetric.

Wall time of a busy machine has heavy tails: a t interval at 95 % holds the truth in 97.5 to 98 % of recorded
comparisons of identical code, wider than it says. Ratios of two versions in random order are symmetric around the true
one by design.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROUNDS_AT_LEAST = 5
"""Fewer cannot reach 95 %: all rounds on one side of the truth are 2 of 16 patterns."""


def centre_and_interval(known: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Centre, low and high end of each row (m, rounds) → (3, m): median and two order statistics of the Walsh averages.

    Walsh averages are the means of all pairs of rounds, each round with itself as well; their median is the estimate
    of Hodges and Lehmann. The ends are those of the signed-rank test, at the level that it can reach next to what is
    asked: 93.75 % for 95 % with 5 and 6 rounds, 94.5 to 95.4 % from 7 on.
    Source: https://doi.org/10.1214/aoms/1177704172
    """
    rounds = known.shape[1]
    first, second = np.triu_indices(rounds)
    averages = np.sort((known[:, first] + known[:, second]) / 2, axis=1)
    left_out = _left_out(rounds, confidence)
    return np.stack([np.median(averages, axis=1), averages[:, left_out], averages[:, -1 - left_out]])


@lru_cache(maxsize=256)
def _left_out(rounds: int, confidence: float) -> int:
    """How many averages lie beyond each end: the interval without k on each side holds the truth with chance
    1 − 2 · P(W ≤ k), W the signed-rank sum of symmetric rounds.
    """
    chances = np.ones(1)
    for rank in range(1, rounds + 1):  # one rank more is in the sum or not
        grown = np.zeros(len(chances) + rank)
        grown[: len(chances)] += chances / 2
        grown[rank:] += chances / 2
        chances = grown
    holds = 1 - 2 * np.cumsum(chances)
    return int(np.argmin(np.abs(holds[: len(chances) // 2] - confidence)))
