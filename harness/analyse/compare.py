"""Two versions compared: a verdict for each cell and metric, with the effect, how sure it is, and why.

Within one session rounds are pairs: one log ratio each (`stats.Paired`). Rounds of different sessions are compared
through a cell whose code is the same in both, the anchor (`stats.Unpaired`): each value is divided by its own round's
anchor before. Without an anchor two sessions say nothing: stored values of identical code differ by 9 % in CPU time
and by 94 % on the wall. What is learned is compared seed by seed, whatever the sessions (`learned_compare`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analyse.comparable import Rounds, incomplete, newly_failing, no_pairs, unusable
from harness.analyse.criteria import Criterion, criteria, is_learned
from harness.analyse.judgement import Judgement, Verdict
from harness.analyse.learned_compare import judge_learned
from harness.analyse.quantity import count, listed
from harness.analyse.stats import Floats, Paired, Unpaired, holm, holm_alphas
from harness.schema.measured import Measured

__all__ = ["Judgement", "Verdict", "compare"]
ALPHA = 0.01
"""Chance of any wrong `regressed` or `improved` in the whole comparison of identical code."""
ALPHA_SIGN = 0.05
"""What sign flips must agree to, uncorrected: n rounds cannot give less than 2 ÷ 2^n, so 5 could never agree."""
ALPHA_SAME = 0.05
ROUNDS_AT_LEAST = 6


@dataclass(frozen=True)
class _Timed:
    """A timed comparison that waits for the others, as the correction is over all. logs: one per round, or None."""

    cell: str
    criterion: Criterion
    rounds: int
    logs: list[float] | None = None
    unpaired: Unpaired | None = None


@dataclass(frozen=True)
class _Row:
    """The statistics of one timed comparison. same: p of the difference being one that matters, or more."""

    mean: float
    low: float
    high: float
    p_sign: float
    same: float
    detectable: float
    needed: float


def compare(a: Iterable[Measured], b: Iterable[Measured], null: Iterable[Measured] = ()) -> list[Judgement]:
    """Judge every cell of either side, B against A. null: A once more, from the same session.

    That is what identical code shows: where it differs by itself, nothing timed is called regressed or improved, and
    where it learns something else, nothing that is learned.
    """
    first, second, again = _by_cell(a), _by_cell(b), _by_cell(null)
    found: list[Judgement] = []
    pairs: dict[str, tuple[Rounds, Rounds]] = {}
    for cell in dict.fromkeys([*first, *second]):
        told = _told_at_once(cell, first.get(cell, []), second.get(cell, []))
        if told is None:
            pairs[cell] = ({item.round: item for item in first[cell]}, {item.round: item for item in second[cell]})
        else:
            found.append(told)
    timed: list[_Timed] = []
    anchors = _anchors(first, second)
    for cell, rounds in pairs.items():
        for criterion in criteria(first[cell][0].device):
            _judge_metric(cell, criterion, rounds, anchors, found, timed)
    found += _judged(timed) + judge_learned(pairs)
    if not again:
        return found
    alike = compare(_flat(first), _flat(again))
    control = [each for each in alike if each.verdict in ("regressed", "improved") and each.p is not None]
    return [_downgraded(each, control) for each in found]


def _told_at_once(cell: str, a: Sequence[Measured], b: Sequence[Measured]) -> Judgement | None:
    """What is said of a cell whose rounds are no pairs, or did not all end well; None: they are to be judged."""
    if refusal := no_pairs(a, b):
        return Judgement(cell, "", "not comparable", refusal)
    if broken := newly_failing(a, b):
        return Judgement(cell, "status", "regressed", broken)
    if lost := incomplete(a, b):
        return Judgement(cell, "", "not comparable", lost)
    return None


def _flat(cells: Mapping[str, Sequence[Measured]]) -> list[Measured]:
    return [item for items in cells.values() for item in items]


def _by_cell(measured: Iterable[Measured]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for item in measured:
        found.setdefault(item.cell, []).append(item)
    return found


def _anchors(a: Mapping[str, Sequence[Measured]], b: Mapping[str, Sequence[Measured]]) -> tuple[Rounds, Rounds]:
    """The rounds of the cell that is an anchor on both sides; empty where there is none."""
    shared = [cell for cell in a if cell in b and a[cell][0].anchor and b[cell][0].anchor]
    if not shared:
        return {}, {}
    return {item.round: item for item in a[shared[0]]}, {item.round: item for item in b[shared[0]]}


def _judge_metric(
    cell: str, criterion: Criterion, sides: tuple[Rounds, Rounds], anchors: tuple[Rounds, Rounds],
    found: list[Judgement], timed: list[_Timed],
) -> None:  # fmt: skip
    have = [[criterion.metric in item.metrics for item in side.values()] for side in sides]
    if not any(map(any, have)) or (criterion.kind == "timed" and _is_anchor(cell, anchors, sides)):
        return
    if criterion.kind != "timed" and all(map(any, have)):  # counted in a first round only: it is the same in each
        sides = _having(sides[0], criterion.metric), _having(sides[1], criterion.metric)
    elif not all(map(all, have)):
        found.append(Judgement(cell, criterion.metric, "not comparable", "some rounds lack it"))
        return
    if bad := unusable(criterion, sides):
        found.append(Judgement(cell, criterion.metric, "not comparable", bad))
    elif criterion.kind != "timed":
        found.append(_counted(cell, criterion, sides))
    elif isinstance(waiting := _timed(cell, criterion, sides, anchors), _Timed):
        timed.append(waiting)
    else:
        found.append(waiting)


def _is_anchor(cell: str, anchors: tuple[Rounds, Rounds], sides: tuple[Rounds, Rounds]) -> bool:
    """Whether it is what other cells of two sessions are held against: its own time is no news."""
    return _session(sides[0]) != _session(sides[1]) and any(item.cell == cell for item in [*anchors[0].values()][:1])


def _having(side: Rounds, metric: str) -> Rounds:
    return {name: item for name, item in side.items() if metric in item.metrics}


def _counted(cell: str, criterion: Criterion, sides: tuple[Rounds, Rounds]) -> Judgement:
    values = [sorted({float(item.metrics[criterion.metric] or 0.0) for item in side.values()}) for side in sides]
    rounds = min(map(len, sides))
    (low_a, *_, high_a), (low_b, *_, high_b) = ((*each, each[-1]) for each in values)
    effect = high_b / high_a if high_a else math.inf if high_b else 1.0
    said = Judgement(cell, criterion.metric, "same", "counted: equal", effect, rounds=rounds)
    if (low_a, high_a) == (low_b, high_b):
        return said
    if criterion.kind == "identity":
        text = f"{high_a:,.0f} against {high_b:,.0f}: another thing was measured"
        return replace(said, verdict="not comparable", reason=text)
    if low_b <= high_a and low_a <= high_b:
        return replace(said, verdict="undecided", reason="counted, but not the same in all rounds of a side")
    if abs(math.log(effect)) < criterion.band:
        return replace(said, reason=f"counted: differs by less than {100 * criterion.practical:.0f} %")
    worse = (effect > 1) != criterion.higher_is_better
    return replace(said, verdict="regressed" if worse else "improved", reason="counted, and different")


def _timed(
    cell: str, criterion: Criterion, sides: tuple[Rounds, Rounds], anchors: tuple[Rounds, Rounds]
) -> _Timed | Judgement:
    a, b = ({name: float(item.metrics[criterion.metric] or 0.0) for name, item in side.items()} for side in sides)
    rounds = min(len(a), len(b))
    if rounds < ROUNDS_AT_LEAST:
        text = f"{count(rounds, 'round')}: a verdict needs {ROUNDS_AT_LEAST}"
        return Judgement(cell, criterion.metric, "undecided", text, rounds=rounds)
    if _session(sides[0]) == _session(sides[1]):
        return _Timed(cell, criterion, rounds, logs=[math.log(b[name] / a[name]) for name in a])
    if not criterion.across:
        text = "two sessions: wall time on CPU is what other work left of it, and no anchor takes that away"
        return Judgement(cell, criterion.metric, "undecided", text, rounds=rounds)
    logs = [_against(anchor, side, criterion.metric) for anchor, side in zip(anchors, (a, b), strict=True)]
    if not all(len(each) >= ROUNDS_AT_LEAST for each in logs):
        text = "two sessions without a cell whose code is the same in both: stored times of identical code differ"
        return Judgement(cell, criterion.metric, "undecided", text, rounds=rounds)
    return _Timed(cell, criterion, rounds, unpaired=Unpaired.of(*logs))


def _session(side: Rounds) -> str:
    return next(iter(side.values())).session


def _against(anchor: Rounds, values: Mapping[str, float], metric: str) -> list[float]:
    """Log of each round's value over the same round's anchor, where there is one that makes sense."""
    known = {name: item.metrics.get(metric) for name, item in anchor.items()}
    return [math.log(value / base) for name, value in values.items() if (base := known.get(name)) and base > 0]


def _judged(timed: Sequence[_Timed]) -> list[Judgement]:
    """All at once: rounds that a comparison has fewer of than another are NaN there."""
    paired = [each for each in timed if each.logs is not None]
    most = max((each.rounds for each in paired), default=0)
    table = Paired.of(np.full((len(paired), most), np.nan))
    for row, each in zip(table.logs, paired, strict=True):
        row[: len(each.logs or ())] = each.logs
    others = [each.unpaired for each in timed if each.unpaired is not None]
    p = np.array([*table.p_t, *(each.p for each in others)])
    corrected, levels = holm(p), holm_alphas(p, ALPHA)
    bands = np.array([each.criterion.band for each in paired])
    rows = [*_paired_rows(table, bands, levels[: len(paired)]), *map(_unpaired_row, others)]
    ordered = [*paired, *(each for each in timed if each.unpaired is not None)]
    return [_verdict(each, row, float(c)) for each, row, c in zip(ordered, rows, corrected, strict=True)]


def _paired_rows(table: Paired, bands: Floats, levels: Floats) -> list[_Row]:
    low, high = table.interval()
    needed = table.rounds_needed(np.maximum(np.abs(table.centre), bands), levels)
    columns = (table.centre, low, high, table.p_sign, table.p_same(bands), table.detectable(levels), needed)
    return [_Row(*map(float, row)) for row in zip(*columns, strict=True)]


def _unpaired_row(each: Unpaired) -> _Row:
    low, high = each.interval()
    return _Row(each.mean, low, high, math.nan, math.nan, math.nan, math.nan)


def _verdict(each: _Timed, row: _Row, p: float) -> Judgement:
    """See docs/verdicts.md."""
    criterion = each.criterion
    figures = (math.exp(row.mean), math.exp(row.low), math.exp(row.high))
    said = Judgement(each.cell, criterion.metric, "undecided", "", *figures, each.rounds, p)
    agreed = each.unpaired is not None or row.p_sign <= ALPHA_SIGN
    if p < ALPHA and agreed and abs(row.mean) >= criterion.band:
        worse = (row.mean > 0) != criterion.higher_is_better
        return replace(
            said, verdict="regressed" if worse else "improved", reason="shown, corrected for all comparisons"
        )
    if _same(each, row):
        ruled_out = (
            f"a difference of {100 * criterion.practical:.0f} % or more is ruled out by two one-sided tests at 5 %"
        )
        return replace(said, verdict="same", reason=ruled_out)
    if p < ALPHA:
        few = f"a difference is there, but of less than {100 * criterion.practical:.0f} % as it seems"
        return replace(said, reason=few if agreed else "a few rounds carry it: sign flips do not agree")
    return _not_shown(said, each, row)


def _same(each: _Timed, row: _Row) -> bool:
    if each.unpaired is None:
        return row.same < ALPHA_SAME
    low, high = each.unpaired.interval(1 - 2 * ALPHA_SAME)
    return -each.criterion.band < low and high < each.criterion.band


def _not_shown(said: Judgement, each: _Timed, row: _Row) -> Judgement:
    if each.unpaired is not None:
        return replace(said, reason="not shown; rounds of one session tell more than two sessions do")
    smallest, needed = math.exp(row.detectable), int(row.needed) if math.isfinite(row.needed) else None
    more = f"about {needed:,} rounds in all would decide" if needed else "no number of rounds would decide"
    text = f"not shown: these rounds find {100 * (smallest - 1):.1f} % nine times in ten; {more}"
    return replace(said, reason=text, detectable=smallest, needed=needed)


def _downgraded(each: Judgement, control: Sequence[Judgement]) -> Judgement:
    if each.verdict not in ("regressed", "improved") or each.p is None:  # what is counted is not of chance
        return each
    alike = [item for item in control if is_learned(item.metric) == is_learned(each.metric)]
    if not alike:
        return each
    shown = listed([f"{item.cell} {item.metric}{_times(item.effect)}" for item in alike], most=3)
    return replace(each, verdict="undecided", reason=f"identical code differed in this session as well: {shown}")


def _times(effect: float | None) -> str:
    return "" if effect is None else f" ({effect:.3f}×)"
