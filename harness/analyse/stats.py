"""Paired log ratios over rounds, judged: interval, tests, equivalence, what could have been seen, what is still needed.

A comparison is a row: one log ratio per round, NaN where a round is missing on either side. All rows are computed at
once. Every test is two-sided unless it says otherwise, and of the mean log ratio being 0.

Tests are t and sign flips, intervals order statistics of Walsh averages, and no bootstrap: over 5 to 10 rounds
percentile intervals are too narrow (10 to 16 % error at a nominal 5 %). t holds its level on ratios of interleaved
fresh processes, but its intervals of wall time are too wide: tails are heavy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from harness.analyse import walsh

Floats: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.9
"""Chance with which an effect is to be found where "could have been seen" and "rounds needed" are said."""
EXACT_ROUNDS = 12
"""Up to so many rounds all sign flips are tried, 2^rounds; above it so many at random:"""
FLIPS = 8191
SEED = 20210
ROUNDS_AT_MOST = 10_000
"""More rounds than that are not counted: the answer is "no number of rounds"."""


@dataclass(frozen=True)
class Paired:
    """Comparisons, (m,) each. logs: (m, rounds) log ratios, NaN where there is none."""

    logs: Floats

    @classmethod
    def of(cls, logs: ArrayLike) -> Paired:
        """From one comparison (rounds,) or many (m, rounds)."""
        return cls(np.atleast_2d(np.asarray(logs, dtype=np.float64)))

    @cached_property
    def rounds(self) -> NDArray[np.int64]:
        """Rounds that both sides have."""
        return np.asarray((~np.isnan(self.logs)).sum(axis=1), dtype=np.int64)

    @cached_property
    def mean(self) -> Floats:
        """Mean log ratio; exp of it is the ratio. NaN without a round."""
        total = np.nansum(self.logs, axis=1)
        return np.asarray(np.divide(total, self.rounds, out=np.full(len(total), np.nan), where=self.rounds > 0))

    @cached_property
    def sd(self) -> Floats:
        """Standard deviation between rounds; NaN below two."""
        squares = np.nansum((self.logs - self.mean[:, None]) ** 2, axis=1)
        mean_square = np.divide(squares, self.rounds - 1, out=np.full(len(squares), np.nan), where=self.rounds > 1)
        return np.asarray(np.sqrt(mean_square))

    @cached_property
    def error(self) -> Floats:
        """Standard error of the mean: SD ÷ √rounds."""
        return np.asarray(self.sd / np.sqrt(np.maximum(self.rounds, 1)))

    @cached_property
    def df(self) -> Floats:
        """Degrees of freedom, at least 1 so that functions of it are defined; figures are NaN there all the same."""
        return np.maximum(self.rounds - 1, 1).astype(np.float64)

    @cached_property
    def centre(self) -> Floats:
        """The estimate beside the interval: Hodges and Lehmann's from 5 rounds on, below it the mean."""
        return np.asarray(self._centred(CONFIDENCE)[0])

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Ends of the interval of the true log ratio, free of a distribution from 5 rounds on (`analyse/walsh`).

        Below it the t interval, mean ± t · SD ÷ √rounds: no level of use can be reached without a distribution.
        """
        _centre, low, high = self._centred(confidence)
        return low, high

    def _centred(self, confidence: float) -> Floats:
        reach = stats.t.ppf((1 + confidence) / 2, self.df) * self.error
        found = np.stack([self.mean, self.mean - reach, self.mean + reach])
        for rows, known in self._complete(walsh.ROUNDS_AT_LEAST):
            found[:, rows] = walsh.centre_and_interval(known, confidence)
        return np.asarray(found)

    def _complete(self, rounds_at_least: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Rows of equally many rounds, together, without the missing ones: their numbers, and (rows, rounds)."""
        for count in np.unique(self.rounds[self.rounds >= rounds_at_least]):
            rows = np.flatnonzero(self.rounds == count)
            yield rows, np.stack([row[~np.isnan(row)] for row in self.logs[rows]])

    @cached_property
    def p_t(self) -> Floats:
        """The p of the t test. Where all rounds agree to the last digit (an exact metric): 1 at 0, else 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * stats.t.sf(np.abs(self.mean) / self.error, self.df)
        return np.asarray(np.where(self.sd == 0, (self.mean == 0).astype(np.float64), p))

    @cached_property
    def p_sign(self) -> Floats:
        """The p of the sign-flip test: share of sign patterns whose mean is at least as far from 0 as the one seen.

        It asks for symmetry alone, where t asks for normality: one wild round does not carry it. The least it can be
        is 2 ÷ 2^rounds. Up to 12 rounds exact, above by 8,191 patterns drawn once and the one seen.
        Source: https://doi.org/10.1214/aos/1176350166 and https://doi.org/10.2202/1544-6115.1585 (p is never 0)
        """
        p = np.full(len(self.logs), np.nan)
        for rows, known in self._complete(1):
            p[rows] = _flipped(known)
        return p

    def p_same(self, band: float | Floats) -> Floats:
        """The p of the equivalence test: that the true |log ratio| is `band` or more; two one-sided t tests (TOST).

        Source: https://doi.org/10.1007/BF01068419
        """
        band = np.asarray(band)
        with np.errstate(divide="ignore", invalid="ignore"):
            low = stats.t.sf((self.mean + band) / self.error, self.df)
            high = stats.t.cdf((self.mean - band) / self.error, self.df)
        inside = (np.abs(self.mean) < band).astype(np.float64)
        return np.where(self.sd == 0, 1 - inside, np.maximum(low, high))

    def detectable(self, alpha: float | Floats, power: float = POWER) -> Floats:
        """The smallest |log ratio| that these rounds find with that chance: (t of 1 − α/2 + t of power) · error."""
        return detectable(self.error, self.df, alpha, power)

    def rounds_needed(self, effect: float | Floats, alpha: float | Floats, power: float = POWER) -> Floats:
        """Rounds in all with which a |log ratio| of `effect` is found with that chance, at the SD seen; inf: none.

        The smallest n with (t of 1 − α/2 + t of power, n − 1 degrees of freedom) · SD ÷ √n ≤ effect.
        """
        effect, alpha = np.broadcast_to(effect, self.mean.shape), np.broadcast_to(alpha, self.mean.shape)

        def found(count: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.asarray(detectable(self.sd / np.sqrt(count), count - 1, alpha, power) <= effect)

        low, high = np.full(len(self.mean), 1), np.full(len(self.mean), ROUNDS_AT_MOST)
        possible = found(high) & (np.asarray(effect) > 0)
        while (high - low > 1).any():  # by halves: from `high` on it is found, at `low` it is not
            middle = np.maximum((low + high) // 2, 2)
            does = found(middle)
            low, high = np.where(does, low, middle), np.where(does, middle, high)
        return np.where(possible, high.astype(np.float64), np.inf)


def detectable(error: ArrayLike, df: ArrayLike, alpha: ArrayLike, power: float = POWER) -> Floats:
    """The smallest |log ratio| that is found with that chance: (t of 1 − α/2 + t of power) · standard error."""
    return np.asarray((stats.t.ppf(1 - np.asarray(alpha) / 2, df) + stats.t.ppf(power, df)) * np.asarray(error))


def rounds_needed(sd: float, effect: float, alpha: float, power: float = POWER) -> int | None:
    """The fewest rounds with which a |log ratio| of `effect` is found with that chance; None: no number of them."""
    found = sd * _reaches(alpha, power) <= effect
    return int(found.argmax()) + 2 if found.any() else None


@lru_cache(maxsize=8)
def _reaches(alpha: float, power: float) -> Floats:
    """What 2, 3, … rounds find at an SD of 1."""
    counts = np.arange(2, ROUNDS_AT_MOST + 1)
    return detectable(1 / np.sqrt(counts), counts - 1, alpha, power)


def _flipped(known: Floats) -> Floats:
    """The p by sign flips of complete rows (m, rounds)."""
    rounds = known.shape[1]
    signs, exact = _signs(rounds)
    seen = np.abs(known.sum(axis=1))
    slack = 1e-12 * np.abs(known).sum(axis=1)  # equal sums differ by roundings
    reached = (np.abs(known @ signs.T) >= (seen - slack)[:, None]).sum(axis=1)
    return np.asarray(reached / len(signs) if exact else (reached + 1) / (len(signs) + 1))


@lru_cache(maxsize=32)
def _signs(rounds: int) -> tuple[Floats, bool]:
    """Sign patterns (patterns, rounds): all of them, or many at random, and whether they are all."""
    if rounds <= EXACT_ROUNDS:
        bits = (np.arange(2**rounds)[:, None] >> np.arange(rounds)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64), True
    drawn = np.random.Generator(np.random.PCG64(SEED)).integers(0, 2, size=(FLIPS, rounds))
    return np.asarray(1.0 - 2.0 * drawn, dtype=np.float64), False


def holm(p: Floats) -> Floats:
    """Holm's step-down correction; NaN stays NaN and is not counted.

    Sorted ascending: corrected p of rank i (from 0) = max over j ≤ i of (m − j) × p of rank j, at most 1.
    Source: https://www.jstor.org/stable/4615733
    """
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * p[order]
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else []
    return corrected


def holm_alphas(p: Floats, alpha: float) -> Floats:
    """The level that each test of a Holm procedure is held to, in the order of `p`: α ÷ (m − rank); NaN where p is."""
    levels = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    levels[order] = alpha / (len(order) - np.arange(len(order)))
    return levels


@dataclass(frozen=True)
class Unpaired:
    """Two independent sets of log values (Welch): for rounds of different sessions, each against its own anchor cell.

    mean: of b minus of a; its error √(s_a² ÷ n_a + s_b² ÷ n_b); df by Welch and Satterthwaite. NaN below two each.
    Source: https://doi.org/10.1093/biomet/34.1-2.28
    """

    mean: float
    error: float
    df: float

    @classmethod
    def of(cls, a: ArrayLike, b: ArrayLike) -> Unpaired:
        """From the log values of each, missing ones as NaN."""
        first, second = (np.asarray(each, dtype=np.float64) for each in (a, b))
        first, second = first[~np.isnan(first)], second[~np.isnan(second)]
        if min(len(first), len(second)) < 2:
            mean = float(second.mean() - first.mean()) if len(first) and len(second) else math.nan
            return cls(mean, math.nan, math.nan)
        parts = [float(each.var(ddof=1)) / len(each) for each in (first, second)]
        weights = [part**2 / (len(each) - 1) for part, each in zip(parts, (first, second), strict=True)]
        df = sum(parts) ** 2 / sum(weights) if sum(weights) else math.inf
        return cls(float(second.mean() - first.mean()), math.sqrt(sum(parts)), df)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Ends of the interval of the difference."""
        reach = float(stats.t.ppf((1 + confidence) / 2, self.df)) * self.error
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float:
        """The p of Welch's test; where neither varies 1 at 0, else 0."""
        if self.error == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.df))
