"""One value per arm from blocks in which each arm had a turn. Pure.

A block is a moment: what the machine does to it hits all arms. Median polish takes log seconds apart into the whole, a
part of the block and a part of the arm, by medians, so that neither a slow block nor one slow turn carries an arm.
Source: J. W. Tukey, Exploratory Data Analysis (1977), chapter 11; https://doi.org/10.1002/0471667196.ess1577
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

SWEEPS = 20
SETTLED = 1e-9


def polished(blocks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds of each arm: exp(whole + its part). blocks: seconds by arm, all above 0, the same arms in each."""
    arms = list(blocks[0])
    left = [[math.log(block[arm]) for arm in arms] for block in blocks]
    whole, of_arm = 0.0, [0.0] * len(arms)
    of_block = [0.0] * len(left)
    for _ in range(SWEEPS):
        moved = 0.0
        for number, row in enumerate(left):
            middle = statistics.median(row)
            of_block[number] += middle
            left[number] = [value - middle for value in row]
            moved += abs(middle)
        middle = statistics.median(of_block)
        whole, of_block = whole + middle, [value - middle for value in of_block]
        for column in range(len(arms)):
            middle = statistics.median(row[column] for row in left)
            of_arm[column] += middle
            for row in left:
                row[column] -= middle
            moved += abs(middle)
        middle = statistics.median(of_arm)
        whole, of_arm = whole + middle, [value - middle for value in of_arm]
        if moved < SETTLED:
            break
    return {arm: math.exp(whole + part) for arm, part in zip(arms, of_arm, strict=True)}
