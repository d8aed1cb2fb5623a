"""Is the history right? False alarms of its change points, and how soon and where a planted step is found.

    python -m benchmarks.calibrate                            prints these figures beside those of the gate
    python -m benchmarks.calibrate_history                    these alone, in half a minute
    python -m benchmarks.calibrate_history --thresholds       the thresholds of the model anew, in two minutes

Noise is normal, or ridden by outliers, or that of sessions as recorded (tests/data/ab_aa.jsonl): a commit's point is
the centre of the log ratios of one session's rounds, the arms dealt out anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.figure import Figure
from harness.analyse.change_points import ARL, FIRST, NEAR, change_points, spreads
from harness.analyse.stats import Paired

if TYPE_CHECKING:
    from benchmarks.calibrate import Block

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]
"""So many values without a change, SD about 1."""

COMMITS, PAST, STEP_AT = 100, 20, 60
"""Of a simulated history; PAST: commits before those in which false alarms are counted."""
WITHIN = 10
"""Commits after the step in which it is to be seen; it may be misplaced by NEAR."""
STEP = 0.05
OUTLIERS, FAR = 0.1, 10.0
"""Share of values that are outliers, and their SD."""
CPU = 1
"""Of the recorded clocks."""
ROUNDS = 15
SEQUENCES, LONGEST = 200_000, 200
KNOTS = (*range(FIRST, 31), 35, 40, 45, 50, 60, 70, 80, 100, 120, 150, LONGEST)


def normal(draw: np.random.Generator, count: int) -> Floats:
    """Normal noise."""
    return draw.normal(size=count)


def with_outliers(draw: np.random.Generator, count: int) -> Floats:
    """Normal noise in which every tenth value is drawn from a tenfold spread."""
    return draw.normal(size=count) * np.where(draw.random(count) < OUTLIERS, FAR, 1.0)


def recorded_points(seconds: Sequence[Floats], draw: np.random.Generator, count: int) -> Floats:
    """Log ratios of identical code as sessions give them. seconds: (arms, rounds) of each recorded session."""
    rows = np.empty((count, ROUNDS))
    for row in rows:
        block = seconds[draw.integers(len(seconds))]
        chosen = draw.choice(block.shape[1], ROUNDS, replace=False)
        b, a = draw.permutation(len(block))[:2]
        row[:] = np.log(block[b, chosen] / block[a, chosen])
    return Paired.of(rows).centre


def false_alarms(noise: Noise, tries: int, seed: int = 1) -> float:
    """Share of histories of 20 and then 80 commits without a change in which one is seen in the 80."""
    draw = np.random.default_rng(seed)
    return sum(
        any(each.seen >= PAST for each in change_points(noise(draw, COMMITS).tolist())) for _ in range(tries)
    ) / tries  # fmt: skip


def found(series: Callable[[np.random.Generator], Floats], tries: int, near: int = NEAR, seed: int = 2) -> float:
    """Share of histories with a step at commit 60 in which it is seen within 10 commits and placed so near."""
    draw = np.random.default_rng(seed)
    hits = 0
    for _ in range(tries):
        values = series(draw)[: STEP_AT + WITHIN]
        seen = change_points(values.tolist())
        hits += any(each.seen >= STEP_AT and abs(each.at - STEP_AT) <= near for each in seen)
    return hits / tries


def stepped(values: Floats, step: float = STEP) -> Floats:
    """The values with a step at commit 60, as a log ratio."""
    values = values.copy()
    values[STEP_AT:] += np.log1p(step)
    return values


def step_in_recorded(seconds: Sequence[Floats], draw: np.random.Generator) -> Floats:
    """A history of recorded noise with a step of 5 % at commit 60."""
    return stepped(recorded_points(seconds, draw, COMMITS))


def history_figures(blocks: Sequence[Block], tries: int = 1000) -> list[Figure]:
    """The figures of the history, from the recorded rounds."""
    figures = []
    for name, noise in (("normal noise", normal), ("noise with outliers", with_outliers)):
        share = false_alarms(noise, tries)
        title = f"history: a false alarm in 80 commits, {name}, {tries} replays"
        figures.append(Figure(title, "≤ 5 %", f"{share:.1%}", share <= 0.05))
    for cell in sorted({each.cell for each in blocks}):
        series = partial(step_in_recorded, [each.seconds[CPU] for each in blocks if each.cell == cell])
        share, exact = (found(series, tries // 2, near) for near in (NEAR, 0))
        title = f"history: a 5 % step of CPU time found in {WITHIN} commits, placed ± {NEAR}, {cell}"
        figures.append(Figure(title, "≥ 90 %", f"{share:.1%} (at the very commit {exact:.0%})", share >= 0.9))
    return figures


def thresholds(sequences: int = SEQUENCES, longest: int = LONGEST, seed: int = 7) -> Floats:
    """h_t for t from FIRST on: what a share of 1 ÷ ARL of the sequences without an alarm until then exceeds."""
    draw = np.random.default_rng(seed)
    values = draw.random((sequences, longest), dtype=np.float32)
    sums = np.zeros((sequences, longest - 1), dtype=np.float32)
    levels = []
    for count in range(2, longest + 1):
        signs = np.sign(values[:, count - 1 : count] - values[:, : count - 1])
        sums[:, : count - 1] += np.cumsum(signs, axis=1)
        if count < FIRST:
            continue
        largest = (np.abs(sums[:, : count - 1]) / spreads(count).astype(np.float32)).max(axis=1)
        level = np.sort(largest)[-1 - int(len(largest) / ARL)]
        levels.append(float(level))
        left = largest <= level
        values, sums = values[left], sums[left]
    return np.array(levels)


def knots(levels: Floats) -> list[tuple[int, float]]:
    """The table of `change_points.THRESHOLDS`: levels, from t = 33 on each a mean over near ones.

    Before that they jump, since few orders are so rare.
    """
    table = []
    for count in [each for each in KNOTS if each < FIRST + len(levels)]:
        near = max(0, (count - 30) // 3)
        here = levels[max(0, count - FIRST - near) : count - FIRST + near + 1]
        table.append((count, round(float(here.mean()) + 5e-4, 3)))
    return table


def main() -> int:
    """Print the figures, or the thresholds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate_history", description=__doc__)
    parser.add_argument("--thresholds", action="store_true", help="find the thresholds of the model anew")
    parser.add_argument("--tries", type=int, default=1000, help="simulated histories")
    asked = parser.parse_args()
    out = Console(width=150, highlight=False)
    if asked.thresholds:
        for count, level in knots(thresholds()):
            out.print(f"    ({count}, {level}),")
        return 0
    from benchmarks.calibrate import recorded

    figures = history_figures(recorded(), asked.tries)
    for each in figures:
        out.print(f"{each.name}: {each.measured} (goal {each.goal}: {'met' if each.met else 'MISSED'})")
    return int(not all(each.met for each in figures))


if __name__ == "__main__":
    sys.exit(main())
