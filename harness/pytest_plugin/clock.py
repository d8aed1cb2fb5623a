"""A timer for pytest-benchmark that keeps CPU seconds too, or goes on by what it is told instead of by the time."""

from __future__ import annotations

import statistics
import time
from array import array

from harness.measure.anchor import Seconds


class Clock:
    """Called by pytest-benchmark at the beginning and at the end of each round; returns wall seconds.

    CPU seconds are read with them: all threads of this process. Where work is done in other processes, `tell` says
    what it took them, and the clock shows the sum.
    """

    def __init__(self) -> None:
        self.__name__ = "harness.pytest_plugin.Clock"  # what pytest-benchmark writes into its files
        self.begin()

    def begin(self) -> None:
        """Forget the benchmark before."""
        self._cpu_ns = array("q")
        self._told: Seconds | None = None

    def tell(self, seconds: Seconds) -> None:
        """Go on by these."""
        before = self._told or Seconds(0.0, 0.0)
        self._told = Seconds(before.wall + seconds.wall, before.cpu + seconds.cpu)

    def stop(self) -> None:
        """From now on the clock stands still, except for what it is told."""
        self._told = self._told or Seconds(0.0, 0.0)

    def __call__(self) -> float:
        """Wall seconds since some moment."""
        if self._told is not None:
            return self._told.wall
        now = time.perf_counter()
        self._cpu_ns.append(time.process_time_ns())
        return now

    def cpu_s(self, rounds: int, iterations: int) -> float | None:
        """Median CPU seconds of the last rounds ÷ iterations; None where this clock did not time them."""
        stamps = self._cpu_ns[-2 * rounds :]
        if len(stamps) < 2 * rounds or rounds < 1:
            return None
        spent = [end - start for start, end in zip(stamps[::2], stamps[1::2], strict=True)]
        return statistics.median(spent) * 1e-9 / iterations
