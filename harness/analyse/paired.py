"""What one recipe learned against another, seed by seed: equal initial weights and data order cancel in the pair.

Losses are compared by their ratio (log of value ÷ the baseline's), all else by the difference; a t interval over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from harness.analyse.quantity import SPACE, count, digits
from harness.analyse.ratios import CONFIDENCE, ROUNDS_AT_LEAST
from harness.analyse.stats import holm

Verdict = Literal["better", "worse", "no difference shown", "undecided"]
PRACTICAL = 0.005
"""Differences below this share of the baseline's value are of no practical meaning, however sure they are."""
ROUNDING = 1e-9
"""Differences below this are of sums in another order: 0."""
RULED_OUT = 0.02
"""`no difference shown` is said only where the interval rules out a difference of this share of it."""


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided 95 % t interval. low, high, p are None with one value; p: of the mean being 0."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Paired:
    """One recipe against another over the seeds that both have.

    own, base: values by seed, in the same order; ratio: whether `difference` is of logs; difference: own − base, or
    log(own ÷ base); correlation: Pearson's, of the pairs; None with fewer than 3 seeds or where either is constant.
    """

    own: tuple[float, ...]
    base: tuple[float, ...]
    ratio: bool
    difference: Interval
    correlation: float | None
    verdict: Verdict = "undecided"
    why: str = ""

    @property
    def seeds(self) -> int:
        """Seeds that both have."""
        return len(self.own)

    @property
    def in_figures(self) -> str:
        """`−3.1 % [−4.0, −2.2]` for losses, `+0.012 [0.004, 0.020]` for all else."""
        found = self.difference
        if self.ratio:
            ends = [math.expm1(end) * 100 for end in (found.value, found.low, found.high) if end is not None]
            told = [_signed(end, 2 if abs(end) < 100 else 3) for end in ends]
            interval = f" [{told[1]}, {told[2]}]" if len(told) == 3 else ""
            return f"{told[0]}{SPACE}%{interval}"
        ends = [end for end in (found.value, found.low, found.high) if end is not None]
        told = [_signed(end, 2) for end in ends]
        return f"{told[0]} [{told[1]}, {told[2]}]" if len(told) == 3 else told[0]


def _signed(value: float, significant: int) -> str:
    text = digits(abs(value), significant)
    return "0" if abs(value) < ROUNDING else f"{'+' if value > 0 else '−'}{text}"


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean ± t · SD ÷ √n, two-sided 95 %. All equal: no width, p is 1 where they are 0 and 0 elsewhere."""
    found = np.asarray(values, float)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean)
    if np.ptp(found) == 0:
        return Interval(mean, mean, mean, float(mean == 0))
    df, error = len(found) - 1, float(found.std(ddof=1)) / math.sqrt(len(found))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * error
    return Interval(mean, mean - reach, mean + reach, 2 * float(stats.t.sf(abs(mean) / error, df)))


def paired(own: Mapping[int, float], base: Mapping[int, float], higher: bool) -> Paired | None:
    """Compare over the seeds that both have; None where they have none in common. No verdict yet: see `judged`.

    higher: whether more is better; where less is and all values are above 0, ratios are taken.
    """
    seeds = sorted(own.keys() & base.keys())
    if not seeds:
        return None
    mine, its = np.array([own[seed] for seed in seeds]), np.array([base[seed] for seed in seeds])
    ratio = not higher and bool((mine > 0).all() and (its > 0).all())
    apart = np.log(mine / its) if ratio else mine - its
    return Paired(
        tuple(map(float, mine)),
        tuple(map(float, its)),
        ratio,
        mean_interval(list(apart)),
        correlation(list(mine), list(its)),
    )


def correlation(own: Sequence[float], base: Sequence[float]) -> float | None:
    """Pearson's, of the pairs; None with fewer than 3 of them or where either side is constant."""
    if len(own) < ROUNDS_AT_LEAST or np.ptp(own) == 0 or np.ptp(base) == 0:
        return None
    return float(np.corrcoef(own, base)[0, 1])


def judged(found: Mapping[str, Paired], higher: bool) -> dict[str, Paired]:
    """The comparisons with a verdict each, p corrected over all of them (Holm)."""
    p = [math.nan if each.difference.p is None else each.difference.p for each in found.values()]
    corrected = holm(np.array(p, float))
    said = [_verdict(each, float(own), higher) for each, own in zip(found.values(), corrected, strict=True)]
    return {
        name: replace(each, verdict=word, why=why)
        for (name, each), (word, why) in zip(found.items(), said, strict=True)
    }


def _verdict(found: Paired, p_holm: float, higher: bool) -> tuple[Verdict, str]:
    """A word and why. better, worse: corrected p < 0.05 over at least 3 seeds, and a difference of at least 0.5 % of
    the baseline's value; no difference shown: 2 % of it or more is ruled out; undecided: all else.
    """
    apart = found.difference
    if apart.low is None or apart.high is None:
        return "undecided", f"one seed: a verdict needs {ROUNDS_AT_LEAST}"
    if found.seeds < ROUNDS_AT_LEAST:
        return "undecided", f"{count(found.seeds, 'seed')}: a verdict needs {ROUNDS_AT_LEAST}"
    unit = 1.0 if found.ratio else abs(float(np.mean(found.base)))
    if p_holm < 1 - CONFIDENCE and abs(apart.value) >= PRACTICAL * unit:
        return ("better" if (apart.value > 0) == higher else "worse"), "shown, corrected for all comparisons"
    if max(abs(apart.low), abs(apart.high)) < RULED_OUT * unit:
        return "no difference shown", f"a difference of {100 * RULED_OUT:.0f} % or more is ruled out"
    if apart.low <= 0 <= apart.high:
        return "undecided", "the interval holds both 0 and differences that matter"
    return "undecided", "does not stand once corrected for all comparisons: more seeds would tell"


def adjusted(values: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Means of recipes as if each had run on every seed: least squares of value = recipe + seed.

    Where all have the same seeds these are the plain means. A recipe that failed on the hardest seed is not made better
    by it: its other values are held against the others' of the same seeds. Empty ones are left out.
    """
    names = [name for name, own in values.items() if own]
    seeds = sorted({seed for name in names for seed in values[name]})
    rows = [(at, seeds.index(seed), value) for at, name in enumerate(names) for seed, value in values[name].items()]
    if not rows:
        return {}
    design = np.zeros((len(rows), len(names) + len(seeds)))
    for number, (recipe, seed, _value) in enumerate(rows):
        design[number, recipe] = design[number, len(names) + seed] = 1.0
    effects = np.linalg.lstsq(design, np.array([value for _recipe, _seed, value in rows]), rcond=None)[0]
    shared = float(effects[len(names) :].mean())
    return {name: float(effects[at]) + shared for at, name in enumerate(names)}
