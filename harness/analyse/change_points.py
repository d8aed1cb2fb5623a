"""Change points of a series that grows value by value: the sequential Mann–Whitney change-point model. Pure.

After each value x_t every split k of x_1 … x_t is tested by ranks, and the largest statistic is held against h_t:

    U_k = Σ over i ≤ k < j of sign(x_j − x_i)        D_k = |U_k| ÷ √(k · (t − k) · (t + 1) ÷ 3)

max over k of D_k > h_t is an alarm. h_t is such that without a change an alarm comes at each t with chance 1 ÷ ARL,
given that none came before: on average once in ARL values. Ranks ask for no distribution: outliers raise no more
alarms than normal noise, where a fixed threshold on single values does. Equal values count as neither above nor
below, which makes alarms rarer than promised. After an alarm the model begins anew behind the change.

Where the level changed is the split within 3 of the maximum's with the least sum of absolute deviations from the
medians of both sides. Ranks know no distances: while the new level is short they count to it the values of the old one
that happen to be its largest.
Source: Hawkins and Deng, Journal of Quality Technology 42 (2010), and https://doi.org/10.18637/jss.v066.i03
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ARL = 2500
"""Values between two false alarms, on average: 3 % in 80."""
FIRST = 16
"""Values before the first test: of fewer not even the rarest order has a chance below 1 ÷ ARL."""
NEAR = 3
"""Values around the split that ranks name, among which the change is placed."""
THRESHOLDS: tuple[tuple[int, float], ...] = (
    (16, 3.335), (17, 3.368), (18, 3.377), (19, 3.386), (20, 3.395), (21, 3.426), (22, 3.44), (23, 3.447),
    (24, 3.462), (25, 3.454), (26, 3.477), (27, 3.494), (28, 3.509), (29, 3.5), (30, 3.506), (35, 3.537),
    (40, 3.575), (45, 3.589), (50, 3.599), (60, 3.616), (70, 3.624), (80, 3.629), (100, 3.639), (120, 3.647),
    (150, 3.656), (200, 3.658),
)  # fmt: skip
"""t and h_t, straight lines between, the last one beyond: `python -m benchmarks.calibrate_history --thresholds`."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """A change of level. at: index of the first value of the new level; seen: of the value that raised the alarm."""

    at: int
    seen: int


def change_points(values: Sequence[float]) -> list[ChangePoint]:
    """The changes that are seen when the values come one after another. Raises ValueError where one is no number."""
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise ValueError("a series holds numbers only")
    found: list[ChangePoint] = []
    begin = 0
    while (alarm := _first_alarm(series[begin:])) is not None:
        split, count = alarm
        found.append(ChangePoint(begin + split, begin + count - 1))
        begin += split
    return found


def jumps(values: Sequence[float], relative: float) -> list[ChangePoint]:
    """Changes of what is counted and has no noise: each value that differs by so much from the first of its level."""
    found: list[ChangePoint] = []
    level = values[0] if values else 0.0
    for number, value in enumerate(values):
        if abs(value - level) >= relative * abs(level) and value != level:
            found.append(ChangePoint(number, number))
            level = value
    return found


def statistics(series: Floats) -> Iterator[tuple[int, Floats]]:
    """T and D_k of every k from 1 to t − 1, value by value."""
    sums = np.zeros(max(len(series) - 1, 0))
    for count in range(2, len(series) + 1):
        sums[: count - 1] += np.cumsum(np.sign(series[count - 1] - series[: count - 1]))
        yield count, np.abs(sums[: count - 1]) / spreads(count)


def spreads(count: int) -> Floats:
    """Standard deviation of U_k of every k from 1 to count − 1, without a change."""
    splits = np.arange(1, count)
    return np.asarray(np.sqrt(splits * (count - splits) * (count + 1) / 3))


def threshold(count: int) -> float:
    """h_t; no statistic reaches it before there are FIRST values."""
    if count < FIRST:
        return math.inf
    table = np.array(THRESHOLDS)
    return float(np.interp(count, table[:, 0], table[:, 1]))


def _first_alarm(series: Floats) -> tuple[int, int] | None:
    """Values before the change, and values until it was seen; None: no alarm."""
    for count, tested in statistics(series):
        split = int(np.argmax(tested))
        if tested[split] > threshold(count):
            return _placed(series[:count], split + 1), count
    return None


def _placed(series: Floats, split: int) -> int:
    """The split near this one that leaves both sides closest to their medians."""
    near = range(max(1, split - NEAR), min(len(series) - 1, split + NEAR) + 1)
    return min(near, key=lambda each: _deviations(series[:each]) + _deviations(series[each:]))


def _deviations(values: Floats) -> float:
    return float(np.abs(values - np.median(values)).sum())
