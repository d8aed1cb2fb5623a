"""One value per arm from blocks in which each arm had a turn: by the ratios of adjacent steps. Pure.

    seconds of the base = median of its steps
    seconds of an arm   = seconds of the base × exp(median over blocks and i of log(its ith step ÷ the base's ith step))

What the machine does to a moment hits both steps of a pair. SD of the log ratio of identical code under load, over 80
rounds each of two cells: wall 4.2 and 7.0 %, CPU time 1.7 and 2.2 %; of ratios of each block's medians 6.8 and 10.0 %,
1.9 and 2.4 %; of ratios of medians 12.3 and 15.5 %, 2.0 and 2.9 %. Median polish of three arms scatters less, but over
13 rounds showed a planted 3 % as 2.2 to 2.6 %: it pulls small effects towards 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def seconds_by_ratio(blocks: Sequence[Mapping[str, Sequence[float]]], base: str) -> dict[str, float]:
    """Seconds per step of each arm. blocks: seconds of its steps by arm, above 0, as many for each arm of a block."""
    of_base = statistics.median(step for block in blocks for step in block[base])
    return {arm: of_base * math.exp(_log_ratio(blocks, arm, base)) for arm in blocks[0]}


def _log_ratio(blocks: Sequence[Mapping[str, Sequence[float]]], arm: str, base: str) -> float:
    pairs = [pair for block in blocks for pair in zip(block[arm], block[base], strict=True)]
    return statistics.median(math.log(one / other) for one, other in pairs)
