"""When two versions of one cell reached the target, by Kaplan and Meier: seeds that did not reach it are censored.

Steps are judged whatever sessions the sides are of: they do not depend on what the machine does. Seconds do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from harness.analyse.comparable import Rounds, no_figure
from harness.analyse.criteria import TO_TARGET, Criterion, target_criterion
from harness.analyse.judgement import Judgement
from harness.analyse.quantity import count, duration
from harness.analyse.stats import holm
from harness.analyse.target import Reach, reach, steps_text
from harness.schema.measured import Measured

ALPHA = 0.01
SEEDS_AT_LEAST = 6
"""With 3 seeds a side, all of A come before all of B once in ten times by chance, and the log-rank p is 0.02."""


@dataclass(frozen=True)
class _Both:
    """Steps or seconds to the target on both sides. pairs: by seed, NaN where it was not reached."""

    cell: str
    criterion: Criterion
    a: Reach
    b: Reach
    pairs: tuple[tuple[float, float], ...]
    one_session: bool

    @property
    def p(self) -> float:
        """Of the log-rank test, two-sided.

        Source: https://doi.org/10.1111/j.2517-6161.1972.tb00896.x
        """
        sides = [stats.CensoredData(uncensored=each.steps, right=each.censored) for each in (self.a, self.b)]
        with np.errstate(divide="ignore", invalid="ignore"):  # all at one time: nothing to compare
            found = float(stats.logrank(*sides).pvalue)
        return 1.0 if math.isnan(found) else found

    @property
    def equal(self) -> bool:
        """Every seed took as long on both sides, or did not reach it on either."""
        return all(one == other or (math.isnan(one) and math.isnan(other)) for one, other in self.pairs)


def to_target(cells: Mapping[str, tuple[Rounds, Rounds]]) -> list[Judgement]:
    """Judge steps and seconds to the target of cells whose rounds are pairs by seed.

    Cells in which no seed reached it on either side are left out: there is nothing to compare.
    """
    found: list[Judgement] = []
    for metric in TO_TARGET:
        asked: list[_Both] = []
        for cell, sides in cells.items():
            told = _both(cell, target_criterion(metric), sides)
            if isinstance(told, Judgement):
                found.append(told)
            elif told is not None:
                asked.append(told)
        corrected = holm(np.array([each.p if _enough(each) else math.nan for each in asked]))
        found += [_verdict(each, float(p)) for each, p in zip(asked, corrected, strict=True)]
    return found


def _both(cell: str, criterion: Criterion, sides: tuple[Rounds, Rounds]) -> _Both | Judgement | None:
    times: list[dict[int, float]] = []
    for name, side in zip("AB", sides, strict=True):
        for item in side.values():
            if criterion.metric in item.metrics and (bad := no_figure(criterion, item.metrics[criterion.metric])):
                return Judgement(cell, criterion.metric, "not comparable", f"round {item.round} of {name} is {bad}")
        times.append(_times(side.values(), criterion.metric))
    a, b = (_reach(side.values(), own, criterion.metric) for side, own in zip(sides, times, strict=True))
    if a is None or b is None or not (a.steps or b.steps):
        return None
    pairs = tuple((times[0].get(seed, math.nan), times[1].get(seed, math.nan)) for seed in _seeds(sides[0].values()))
    sessions = {item.session for side in sides for item in side.values()}
    return _Both(cell, criterion, a, b, pairs, len(sessions) == 1)


def _seeds(rounds: Iterable[Measured]) -> list[int]:
    return sorted({item.learned.seed for item in rounds if item.learned is not None})


def _times(rounds: Iterable[Measured], metric: str) -> dict[int, float]:
    """By seed, what it took, the mean of its rounds; a seed is not there where one of them did not reach it."""
    every: dict[int, list[float]] = {}
    for item in rounds:
        if item.learned is not None:
            every.setdefault(item.learned.seed, []).append(float(item.metrics.get(metric) or math.nan))
    means = {seed: math.fsum(own) / len(own) for seed, own in every.items()}
    return {seed: mean for seed, mean in means.items() if not math.isnan(mean)}


def _reach(rounds: Iterable[Measured], times: Mapping[int, float], metric: str) -> Reach | None:
    """The side put together; None where there is no target, or it is not known how long seeds were watched."""
    watched: dict[int, float | None] = {}
    for item in rounds:
        if item.learned is None or item.learned.target is None:
            return None
        watched[item.learned.seed] = float(item.learned.steps) if metric == TO_TARGET[0] else item.learned.train_s
    target = next(item.learned.target for item in rounds if item.learned is not None) or 0.0
    censored = [how_long for seed, how_long in watched.items() if seed not in times]
    if any(each is None for each in censored):
        return None
    return reach(target, list(times.values()), [each for each in censored if each is not None], None)


def _enough(each: _Both) -> bool:
    return min(each.a.seeds, each.b.seeds) >= SEEDS_AT_LEAST and (
        each.one_session or each.criterion.metric == TO_TARGET[0]
    )


def _verdict(each: _Both, p: float) -> Judgement:
    """See docs/verdicts.md."""
    medians = [side.median for side in (each.a, each.b)]
    effect = medians[1] / medians[0] if medians[0] and medians[1] else None
    told = f"{_said(each, each.a)} against {_said(each, each.b)}"
    said = Judgement(each.cell, each.criterion.metric, "undecided", "", effect, rounds=len(each.pairs))
    if each.equal:
        return replace(said, verdict="same", reason=f"every seed took as long: {told}")
    if not each.one_session and each.criterion.metric != TO_TARGET[0]:
        return replace(said, reason=f"seconds of two sessions: {told}")
    if not _enough(each):
        return replace(said, reason=f"{count(len(each.pairs), 'seed')}: a verdict needs {SEEDS_AT_LEAST}; {told}")
    said = replace(said, p=p)
    if p < ALPHA and (worse := _worse(each, medians)) is not None:
        word: Literal["regressed", "improved"] = "regressed" if worse else "improved"
        return replace(said, verdict=word, reason=f"shown by the log-rank test, corrected: {told}")
    return replace(said, reason=f"not shown by the log-rank test (p {p:.2g}): {told}")


def _worse(each: _Both, medians: list[float | None]) -> bool | None:
    """Whether B takes longer by the practical difference or more, or reaches it where A does not; None: neither."""
    one, other = (math.inf if each_median is None else each_median for each_median in medians)
    if one == other or (math.isfinite(one) and abs(math.log(other / one)) < each.criterion.band):
        return None
    return other > one


def _said(each: _Both, side: Reach) -> str:
    """`140 steps (3 of 3 seeds)`, `> 400 steps (1 of 3 seeds)`."""
    if each.criterion.metric == TO_TARGET[0]:
        return f"{steps_text(side)} steps ({side.of_seeds})"
    median = side.median
    text = f"> {duration(side.beyond)}" if median is None else duration(median)
    return f"{text} ({side.of_seeds})"
