"""What this machine can tell apart: the smallest effect that would be found, from rounds of identical code.

Verdicts are those of `harness gate`: α of the t test 1 %, found nine times in ten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.analyse.compare import ALPHA, ROUNDS_AT_LEAST
from harness.analyse.disturbances import advice, what_was_seen
from harness.analyse.quantity import count, digits, duration, listed, percent
from harness.analyse.stats import Paired, detectable, rounds_needed
from harness.machine.contention import Moment, Surroundings

ROUNDS = 20
"""Rounds that `harness ab` confirms with, unless told otherwise."""
EFFECTS = (0.01, 0.03, 0.10)
CLOCKS = {"step_cpu_s": "CPU time", "step_s": "wall time"}
WALL_WORSE = 3.0
"""Wall time is the worse clock from so many times the CPU time's SD on."""


@dataclass(frozen=True)
class Clock:
    """What one clock can tell apart. sd: of a round's log ratio of identical code, low and high: its 95 % interval;
    detectable: the smallest relative difference found nine times in ten with `ROUNDS` rounds; needed: rounds for each
    of `EFFECTS`, None: no number.
    """

    metric: str
    sd: float
    low: float
    high: float
    rounds: int
    detectable: float
    needed: dict[float, int | None]

    @property
    def name(self) -> str:
        """The clock in words."""
        return CLOCKS[self.metric]


@dataclass(frozen=True)
class Noise:
    """The answer of `harness doctor --noise`. cell: what was run; round_s: wall seconds of a round."""

    cell: str
    round_s: float
    clocks: list[Clock]
    seen: dict[str, str]
    untold: list[str]
    advice: list[str]


def clock_of(metric: str, rounds: Sequence[Sequence[float]]) -> Clock:
    """From the seconds of every arm (identical code) in every round.

    The variance is that of a pair's log ratio, the mean over all pairs of arms; its interval is that of χ² with
    (rounds − 1)(arms − 1) degrees of freedom: drift of a round is in none of it. Raises ValueError below two rounds.
    """
    logs = np.log(np.asarray(rounds, dtype=np.float64))
    if len(logs) < 2:
        raise ValueError(f"{len(logs)} rounds: a spread needs two")
    pairs = Paired.of([logs[:, one] - logs[:, other] for one, other in itertools.combinations(range(logs.shape[1]), 2)])
    sd = math.sqrt(float(np.mean(pairs.sd**2)))
    reach = float(detectable(sd / math.sqrt(ROUNDS), ROUNDS - 1, ALPHA))
    needed = {effect: _needed(sd, effect) for effect in EFFECTS}
    df = (len(logs) - 1) * (logs.shape[1] - 1)
    low, high = (sd * math.sqrt(df / float(stats.chi2.ppf(tail, df))) for tail in (0.975, 0.025))
    return Clock(metric, sd, low, high, len(logs), math.expm1(reach), needed)


def _needed(sd: float, effect: float) -> int | None:
    """Rounds in all; never fewer than a verdict asks for."""
    found = rounds_needed(sd, math.log1p(effect), ALPHA)
    return None if found is None else max(ROUNDS_AT_LEAST, found)


def noise(
    cell: str,
    rounds: Sequence[Mapping[str, Sequence[float]]],
    round_s: float,
    moments: tuple[Moment, Moment],
    around: Surroundings,
    threads: int = 1,
) -> Noise:
    """Put together what was measured and what was seen. rounds: by metric, seconds of every arm."""
    clocks = [
        clock_of(metric, known)
        for metric in CLOCKS
        if len(known := [each[metric] for each in rounds if metric in each]) > 1
    ]
    seen, untold = what_was_seen(*moments, around)
    helps = [*advice(*moments, around, threads), *filter(None, [worse_clock(clocks)])]
    return Noise(cell, round_s, clocks, seen, untold, helps)


def words(found: Noise) -> list[str]:
    """What the machine can tell apart, in sentences."""
    if not found.clocks:
        return [f"Nothing can be said: no two rounds of {found.cell} ended well."]
    spread = listed([f"{percent(each.sd)} [{_between(each)}] in {each.name}" for each in found.clocks])
    reach = listed([f"{percent(each.detectable)} in {each.name}" for each in found.clocks])
    taken = count(found.clocks[0].rounds, "round")
    return [
        f"Identical code differs from itself here by {spread} (SD of a round's ratio and its "
        f"95 % interval, {taken} of {found.cell}).",
        f"With {ROUNDS} rounds a difference of {reach} is found nine times in ten; that takes "
        f"{duration(ROUNDS * found.round_s)} a cell.",
    ]


def _between(clock: Clock) -> str:
    return ", ".join(digits(100 * end, 2) for end in (clock.low, clock.high))


def effort(found: Noise) -> list[dict[str, str]]:
    """A row per effect: the rounds that each clock needs for it and how long they take."""
    return [
        {"a difference of": percent(effect)}
        | {f"by {each.name}": _rounds_text(each.needed[effect], found.round_s) for each in found.clocks}
        for effect in EFFECTS
    ]


def _rounds_text(needed: int | None, round_s: float) -> str:
    return "not with 10,000 rounds" if needed is None else f"{count(needed, 'round')}, {duration(needed * round_s)}"


def worse_clock(clocks: Sequence[Clock]) -> str:
    """Which clock to go by, where wall time is much the worse one; else empty."""
    by = {each.metric: each for each in clocks}
    if not {"step_s", "step_cpu_s"} <= by.keys() or by["step_s"].sd < WALL_WORSE * by["step_cpu_s"].sd:
        return ""
    ratio = by["step_s"].sd / by["step_cpu_s"].sd if by["step_cpu_s"].sd else math.inf
    return (
        f"Wall time is {digits(ratio, 2)} times as noisy as CPU time: on this machine go by verdicts on CPU time where "
        "a step is bound by computing."
    )
