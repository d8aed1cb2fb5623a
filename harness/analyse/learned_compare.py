"""What two versions of one cell learned, seed by seed: initial weights and order of data cancel in the pair.

Primary is the area under the training loss: the log ratio of two runs of one seed has an SD of 0.05 to 0.3 % where that
of two seeds has 2.6 %. Then the held-out metric after the last step, then steps and seconds to the target, for which
seeds that did not reach it are counted as censored. See docs/verdicts.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analyse.comparable import Rounds, no_figure
from harness.analyse.criteria import LOSS_AREA, Criterion, held_out_criterion, loss_criterion
from harness.analyse.judgement import Judgement
from harness.analyse.paired import ROUNDING, correlation
from harness.analyse.quantity import count, listed
from harness.analyse.stats import Paired, holm, holm_alphas
from harness.analyse.target_compare import to_target
from harness.schema.measured import Learned

ALPHA_AREA = 0.05
"""Chance at most of a wrong word about an area where only rounding differs; nearly 0, as that is mostly too little …"""
ALPHA_HELD_OUT = 0.01
"""… while few held-out samples make large steps of it."""
ALPHA_SAME = 0.05
SEEDS_AT_LEAST = 3
HELPS_LITTLE = 0.5
"""Below this correlation a pair has more than half the variance of two runs of different seeds."""
FIRST_LOSS = 1e-3
"""Losses of the first step that differ by this share are of other weights, other data or another loss: no rounding."""


@dataclass(frozen=True)
class _Seeds:
    """One figure of one cell by seed, on both sides, in the same order. shift: log ratios of B to A."""

    cell: str
    criterion: Criterion
    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def shift(self) -> list[float]:
        """Log ratios where all values are above 0, else differences as shares of the mean of A."""
        if min(*self.a, *self.b) > 0:
            return [math.log(own / base) for base, own in zip(self.a, self.b, strict=True)]
        unit = abs(math.fsum(self.a) / len(self.a)) or 1.0
        return [(own - base) / unit for base, own in zip(self.a, self.b, strict=True)]

    @property
    def equal(self) -> bool:
        """To the last digits, for every seed."""
        return max(map(abs, self.shift)) <= ROUNDING


def judge_learned(cells: Mapping[str, tuple[Rounds, Rounds]]) -> list[Judgement]:
    """Judge what was learned in every cell whose rounds say so; B against A. All rounds have ended OK."""
    found: list[Judgement] = []
    areas: list[_Seeds] = []
    held_out: list[_Seeds] = []
    target: dict[str, tuple[Rounds, Rounds]] = {}
    for cell, (a, b) in cells.items():
        if not any(item.learned for item in (*a.values(), *b.values())):
            continue
        if refusal := _no_pairs(a, b):
            found.append(Judgement(cell, LOSS_AREA, "not comparable", refusal))
            continue
        target[cell] = (a, b)
        for criterion in _criteria(a):
            told = _by_seed(cell, criterion, (a, b))
            if isinstance(told, Judgement):
                found.append(told)
            elif told is not None:
                (areas if criterion.metric == LOSS_AREA else held_out).append(told)
    return [*found, *_judged(areas), *_judged(held_out), *to_target(target)]


def _alpha(criterion: Criterion) -> float:
    return ALPHA_AREA if criterion.metric == LOSS_AREA else ALPHA_HELD_OUT


def _criteria(rounds: Rounds) -> list[Criterion]:
    learned = next(iter(rounds.values())).learned
    return [
        loss_criterion(),
        *([held_out_criterion(learned.metric, learned.better)] if learned and learned.metric else []),
    ]


def _no_pairs(a: Rounds, b: Rounds) -> str | None:
    """Why the rounds of both sides are no pairs by seed; None: they are."""
    for name, side in (("A", a), ("B", b)):
        if without := [each for each, item in side.items() if item.learned is None]:
            return f"round {listed(sorted(without), most=3)} of {name} does not say what it learned"
    first, second = _learned(a), _learned(b)
    if alone := sorted({each.seed for each in first} ^ {each.seed for each in second}):
        return f"seed {listed([str(seed) for seed in alone], most=3)} is on one side only"
    asked = [sorted({_asked(each) for each in side}) for side in (first, second)]
    if asked[0] != asked[1] or len(asked[0]) > 1:
        return f"other things were asked: {listed(asked[0], most=2)} against {listed(asked[1], most=2)}"
    return _other_start(a, b)


def _learned(side: Rounds) -> list[Learned]:
    return [item.learned for item in side.values() if item.learned is not None]


def _asked(each: Learned) -> str:
    what = f"{each.metric} ({each.better} is better)" if each.metric else "nothing held out"
    return f"{each.steps:,} steps, {what}, {'no target' if each.target is None else f'target {each.target:g}'}"


def _other_start(a: Rounds, b: Rounds) -> str | None:
    """What to say where a seed's first losses differ: then nothing cancels in the pair."""
    first = {each.seed: each.first_loss for each in _learned(a)}
    for each in _learned(b):
        one, other = first[each.seed], each.first_loss
        if one is not None and other is not None and abs(other - one) > FIRST_LOSS * max(abs(one), abs(other)):
            why = "other initial weights, data or loss"
            return f"at the first step of seed {each.seed} the loss is {one:.6g} against {other:.6g}: {why}"
    return None


def _by_seed(cell: str, criterion: Criterion, sides: tuple[Rounds, Rounds]) -> _Seeds | Judgement | None:
    """The criterion's figure by seed; why it cannot be judged, or None where neither side has it."""
    values: list[dict[int, list[float]]] = [{}, {}]
    lacking = 0
    for name, side, own in zip("AB", sides, values, strict=True):
        for item in side.values():
            if criterion.metric not in item.metrics or item.learned is None:
                lacking += 1
                continue
            value = item.metrics[criterion.metric]
            if bad := no_figure(criterion, value):
                return Judgement(cell, criterion.metric, "not comparable", f"round {item.round} of {name} is {bad}")
            own.setdefault(item.learned.seed, []).append(float(value or 0.0))
    if not any(values):
        return None
    if lacking:
        return Judgement(cell, criterion.metric, "not comparable", "some rounds lack it")
    a, b = ([math.fsum(own[seed]) / len(own[seed]) for seed in sorted(own)] for own in values)
    return _Seeds(cell, criterion, tuple(a), tuple(b))


def _judged(kind: Sequence[_Seeds]) -> list[Judgement]:
    """All of a kind at once, a family of its own: the primary pays for no other. Seeds that one lacks are NaN."""
    if not kind:
        return []
    table = Paired.of(np.full((len(kind), max(len(each.a) for each in kind)), np.nan))
    for row, each in zip(table.logs, kind, strict=True):
        row[: len(each.a)] = each.shift
    p = np.array([_p(each, float(own)) for each, own in zip(kind, table.p_t, strict=True)])
    bands = np.array([each.criterion.band for each in kind])
    levels = holm_alphas(p, _alpha(kind[0].criterion))
    low, high = table.interval()
    columns = (
        *(table.centre, low, high, holm(p), table.p_same(bands), table.detectable(levels)),
        table.rounds_needed(np.maximum(np.abs(table.mean), bands), levels),
    )
    return [_verdict(each, *map(float, row)) for each, *row in zip(kind, *columns, strict=True)]


def _p(each: _Seeds, p: float) -> float:
    """The p of the t test; NaN below 3 seeds.

    Where all seeds differ by the same to the last digit, as shares of few held-out samples may, their spread is not
    known and t would be sure: then that of sign flips, 2 ÷ 2^seeds.
    """
    if len(each.a) < SEEDS_AT_LEAST:
        return math.nan
    apart = [own - base for base, own in zip(each.a, each.b, strict=True)]
    constant = min(max(found) - min(found) for found in (apart, each.shift)) <= ROUNDING
    return 2 / 2 ** len(apart) if constant and not each.equal else p


def _verdict(
    each: _Seeds, mean: float, low: float, high: float, p: float, same: float, smallest: float, needed: float
) -> Judgement:
    """See docs/verdicts.md."""
    criterion, seeds = each.criterion, len(each.a)
    low_, high_ = (None if math.isnan(end) else math.exp(end) for end in (low, high))
    said = Judgement(each.cell, criterion.metric, "undecided", "", math.exp(mean), low_, high_, seeds, _known(p))
    if each.equal:
        return replace(said, verdict="same", reason=f"equal for every seed ({count(seeds, 'seed')})")
    if seeds < SEEDS_AT_LEAST:
        return replace(said, reason=f"{count(seeds, 'seed')}: a verdict needs {SEEDS_AT_LEAST}")
    pairing = _pairing(each)
    if p < _alpha(criterion) and abs(mean) >= criterion.band:
        worse = (mean > 0) != criterion.higher_is_better
        told = f"shown seed by seed, corrected for all comparisons{pairing}"
        return replace(said, verdict="regressed" if worse else "improved", reason=told)
    if same < ALPHA_SAME:
        return replace(
            said,
            verdict="same",
            reason=f"a difference of {100 * criterion.practical:.1f} % or more is ruled out{pairing}",
        )
    if p < _alpha(criterion):
        return replace(
            said,
            reason=f"a difference is there, but of less than {100 * criterion.practical:.1f} % as it seems{pairing}",
        )
    found = math.exp(smallest)
    more = (
        f"about {needed:,.0f} seeds in all would decide" if math.isfinite(needed) else "no number of seeds would decide"
    )
    return replace(
        said, reason=f"not shown: these seeds find {100 * (found - 1):.1f} % nine times in ten; {more}{pairing}",
        detectable=found, needed=int(needed) if math.isfinite(needed) else None,
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _pairing(each: _Seeds) -> str:
    """How closely the seeds of both sides go together, and what that is good for."""
    found = correlation(each.a, each.b)
    if found is None:
        return ""
    little = ": pairing helps little" if found < HELPS_LITTLE else ""
    return f"; seeds of A and B correlate at {found:.2f}{little}"
