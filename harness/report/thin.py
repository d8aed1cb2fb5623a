"""Curves thinned to what can be seen: spikes stay, points that a straight line passes anyway go."""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.intp]]
SEEN = 0.25
"""Pixels by which a curve may be off: a quarter of the finest line."""


def thinned(x: Floats, y: Floats, most: int, seen: float = SEEN) -> Places:
    """Which points of a curve in pixels are drawn: at most `most` of them, the first and the last among them.

    Of many points the lowest and the highest of each stretch are kept, so that no spike is lost, be it one step wide;
    then those are left out that lie no further than `seen` from a line through their neighbours that stay
    (Ramer, Douglas and Peucker: https://doi.org/10.3138/FM57-6770-U75U-7727).
    """
    kept = _extremes(y, most)
    return kept[_corners(x[kept], y[kept], seen)]


def _extremes(y: Floats, most: int) -> Places:
    """The ends, and the lowest and the highest point of as many stretches of equal length as there is room for."""
    if len(y) <= most:
        return np.arange(len(y))
    found = [0, len(y) - 1]
    for stretch in np.array_split(np.arange(1, len(y) - 1), max(1, (most - 2) // 2)):
        found += [int(stretch[np.argmin(y[stretch])]), int(stretch[np.argmax(y[stretch])])]
    return np.unique(found)


def _corners(x: Floats, y: Floats, seen: float) -> Places:
    kept = {0, len(x) - 1}
    open_ = [(0, len(x) - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        far = _from_chord(x[first : last + 1], y[first : last + 1])
        furthest = int(np.argmax(far))
        if far[furthest] > seen:
            kept.add(first + furthest)
            open_ += [(first, first + furthest), (first + furthest, last)]
    return np.array(sorted(kept), dtype=np.intp)


def _from_chord(x: Floats, y: Floats) -> Floats:
    """How far each point is from the straight line between the first and the last."""
    across, up = x[-1] - x[0], y[-1] - y[0]
    long = float(np.hypot(across, up))
    if long == 0:
        return np.asarray(np.hypot(x - x[0], y - y[0]))
    return np.asarray(np.abs(across * (y - y[0]) - up * (x - x[0])) / long)
