"""Screen and confirm: which cells look like anything after a few rounds, and the verdict from fresh ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.analyse.compare import compare
from harness.analyse.criteria import criteria
from harness.analyse.judgement import Judgement
from harness.schema.measured import Measured

P_SEEN = 0.2
"""Uncorrected p of a timed metric below which a cell is confirmed …"""
P_LARGE = 0.5
"""… and where the effect is at least the practical difference, below this."""
Arms = Mapping[str, Sequence[Measured]]
"""a, b and null."""


def to_confirm(screened: Arms) -> set[str]:
    """Cells whose screened effect looks like anything. What failed or was counted needs no more rounds."""
    return {cell for cell in _cells(screened["a"]) if _looks(screened, cell)}


def _looks(screened: Arms, cell: str) -> bool:
    """One cell alone, so that its p is corrected for nothing but its own two clocks."""
    a, b = ([item for item in screened[arm] if item.cell == cell] for arm in ("a", "b"))
    if any(item.status != "OK" for item in (*a, *b)):
        return False
    for criterion in criteria(a[0].device):
        if criterion.kind != "timed":
            continue
        only = [_with(criterion.metric, side) for side in (a, b)]
        for each in compare(*only):
            if each.p is None or each.effect is None:
                continue
            large = abs(math.log(each.effect)) >= criterion.band
            if each.p < P_SEEN or (large and each.p < P_LARGE):
                return True
    return False


def _with(metric: str, side: Sequence[Measured]) -> list[Measured]:
    return [
        item.model_copy(update={"metrics": {key: value for key, value in item.metrics.items() if key == metric}})
        for item in side
    ]


def judge_stages(screened: Arms, confirmed: Arms) -> list[Judgement]:
    """Verdicts of both stages. Each is corrected for its own comparisons: the confirming rounds are independent of
    the screening ones, so that what was only screened costs what is confirmed no power.
    """
    return [*_judged(confirmed), *_judged(screened)]


def _judged(arms: Arms) -> list[Judgement]:
    return compare(arms["a"], arms["b"], arms["null"])


def _cells(measured: Iterable[Measured]) -> list[str]:
    return list(dict.fromkeys(item.cell for item in measured))
