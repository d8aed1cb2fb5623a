"""The gate: from judgements to one exit code. Nothing measured is never "nothing worse"."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from harness.analyse.comparable import NOTHING
from harness.analyse.judgement import Judgement

NEW = "only B has it"
"""A cell without a past is told, and stops nobody."""


class Outcome(IntEnum):
    """What `harness gate` found; its exit code."""

    PASSED = 0
    REGRESSED = 1
    NOTHING_MEASURED = 2
    NOT_COMPARABLE = 3
    UNDECIDED = 4


MEANS = {
    Outcome.PASSED: "nothing is worse",
    Outcome.REGRESSED: "something is worse",
    Outcome.NOTHING_MEASURED: "nothing was measured",
    Outcome.NOT_COMPARABLE: "something cannot be compared",
    Outcome.UNDECIDED: "nothing is worse, but not everything is decided (--strict)",
}


def gate(judgements: Sequence[Judgement], strict: bool = False) -> Outcome:
    """The first that applies: something regressed, nothing was measured on both sides, something cannot be compared,
    something is undecided (only where that is asked for), nothing is worse.
    """
    known = [each for each in judgements if each.reason != NEW]
    words = [each.verdict for each in known]
    if "regressed" in words:
        return Outcome.REGRESSED
    if all(each.reason.startswith(NOTHING) for each in known):
        return Outcome.NOTHING_MEASURED
    if "not comparable" in words:
        return Outcome.NOT_COMPARABLE
    if strict and "undecided" in words:
        return Outcome.UNDECIDED
    return Outcome.PASSED
