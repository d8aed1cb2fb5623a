"""When the target was reached: steps and seconds, with the seeds that did not reach it counted and never averaged in.

A seed that was watched for 400 steps without reaching the target is censored: all that is known is that it takes more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from harness.analyse.quantity import SPACE, count, digits, duration


@dataclass(frozen=True)
class Reach:
    """Steps to the target over the seeds of a cell.

    steps: of the seeds that reached it, ascending; censored: steps until which each of the others was watched; step_s:
    seconds per step of the cell, geometric mean over its trials; None where it was not measured.
    """

    target: float
    steps: tuple[float, ...]
    censored: tuple[float, ...]
    step_s: float | None

    @property
    def seeds(self) -> int:
        """Seeds that were watched."""
        return len(self.steps) + len(self.censored)

    @property
    def all(self) -> bool:
        """Every seed reached it."""
        return bool(self.steps) and not self.censored

    @property
    def median(self) -> float | None:
        """Median steps; with censored seeds Kaplan and Meier's: the first step at which at most half had still to reach
        it. None where more than half did not reach it.

        Source: https://doi.org/10.1080/01621459.1958.10501452
        """
        if not self.steps:
            return None
        if not self.censored:
            middle = len(self.steps) // 2
            return self.steps[middle] if len(self.steps) % 2 else (self.steps[middle - 1] + self.steps[middle]) / 2
        left = stats.ecdf(stats.CensoredData(uncensored=self.steps, right=self.censored)).sf
        for step, share in zip(left.quantiles, left.probabilities, strict=True):
            if share <= 0.5 + 1e-12:
                return float(step)
        return None

    @property
    def beyond(self) -> float:
        """Where more than half did not reach it: the steps that it takes more than. The shortest watch of those."""
        return min(self.censored, default=math.nan)

    @property
    def ends(self) -> tuple[float, float]:
        """Fewest and most steps of the seeds that reached it."""
        return self.steps[0], self.steps[-1]

    def seconds(self, steps: float) -> float | None:
        """Training seconds of so many steps: steps × seconds per step."""
        return None if self.step_s is None else steps * self.step_s

    @property
    def of_seeds(self) -> str:
        """`3 of 3 seeds`."""
        return f"{len(self.steps)} of {count(self.seeds, 'seed')}"


def reach(target: float, reached: Sequence[float], watched: Sequence[float], step_s: float | None) -> Reach | None:
    """Put seeds together. watched: steps of those that did not reach it. None where no seed was watched."""
    if not reached and not watched:
        return None
    return Reach(target, tuple(sorted(reached)), tuple(sorted(watched)), step_s)


def whole(steps: float) -> str:
    """Steps as text: `140`, `1,200`; a half where a median lies between two."""
    return f"{steps:,.0f}" if steps == int(steps) else f"{steps:,.1f}"


def steps_text(found: Reach) -> str:
    """Median steps: `140`, `> 400` where more than half of the seeds did not reach it within so many."""
    median = found.median
    return f">{SPACE}{whole(found.beyond)}" if median is None else whole(median)


def seconds_text(found: Reach) -> str:
    """Median seconds: `2.66 s`, `> 7.60 s`; empty where a step was not timed."""
    median = found.median
    seconds = found.seconds(found.beyond if median is None else median)
    return "" if seconds is None else f">{SPACE}{duration(seconds)}" if median is None else duration(seconds)


def in_words(found: Reach, counted: bool = True) -> str:
    """`140 steps (120 to 160) × 19.0 ms = 2.66 s (3 of 3 seeds)`, and which seeds did not reach it.

    counted: how many did is told; else only what became of the others.
    """
    if not found.steps:
        return f"not within {whole(found.beyond)} steps in any of {count(found.seeds, 'seed')}"
    rest = "other" if len(found.censored) == 1 else "others"
    others = f", the {rest} not within {whole(found.beyond)} steps" if found.censored else ""
    median = found.median
    if median is None:
        own = f"{listed_steps(found)} steps"
    else:
        low, high = found.ends
        apart = f" ({whole(low)} to {whole(high)})" if low < high else ""
        own = f"{whole(median)} steps{apart}{_product(found, median)}"
    return f"{own} ({found.of_seeds}{others})" if counted else f"{own}{others}"


def listed_steps(found: Reach) -> str:
    """The steps of the seeds that reached it: `120 and 160`."""
    return " and ".join(whole(step) for step in found.steps)


def _product(found: Reach, steps: float) -> str:
    seconds = found.seconds(steps)
    if seconds is None or found.step_s is None:
        return ""
    return f" × {duration(found.step_s)} = {duration(seconds)}"


def target_text(metric: str, target: float) -> str:
    """`accuracy 0.97`: no more digits than it was given with."""
    return f"{metric} {f'{target:g}' if abs(target) < 1e5 else digits(target)}"
