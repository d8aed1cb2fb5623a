"""The anchor: a fixed piece of arithmetic, timed beside what is measured, that two sessions have in common.

Its code must never change: figures of before and after would be held against different things.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NUMBERS = 8192
"""64 KiB: it stays in a core's own cache."""
PASSES = 60
TURNS_OF_PYTHON = 30_000
LAPS = 9
"""Of which the median is taken: one alone may be interrupted."""


def arithmetic() -> float:
    """About 2 ms on one core: elementary functions over an array, a loop of the interpreter. No BLAS, no threads."""
    values = np.linspace(0.5, 1.5, NUMBERS)
    for _ in range(PASSES):
        values = np.sqrt(np.exp(values) * 0.3 + 0.5)
    total = 0
    for number in range(TURNS_OF_PYTHON):
        total += number & 7
    return float(values.sum()) + total


@dataclass(frozen=True)
class Seconds:
    """Of the same work: wall, and CPU of all threads of this process."""

    wall: float
    cpu: float


def lap(work: Callable[[], object]) -> Seconds:
    """The seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time_ns()
    work()
    return Seconds(time.perf_counter() - wall, (time.process_time_ns() - cpu) * 1e-9)


def anchor(laps: int = LAPS) -> list[Seconds]:
    """The seconds of so many calls of the arithmetic."""
    return [lap(arithmetic) for _ in range(laps)]


def median(laps: list[Seconds]) -> Seconds:
    """Of wall and of CPU seconds, each for itself."""
    return Seconds(statistics.median(each.wall for each in laps), statistics.median(each.cpu for each in laps))


@dataclass(frozen=True)
class Round:
    """What one round of fresh processes took: the work, and the anchor in turn with it."""

    work: Seconds
    anchor: Seconds
