"""Whether two sets of rounds can be compared at all: what is no pair, no number or broken gets a reason, no verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from harness.analyse.criteria import TO_TARGET, Criterion
from harness.analyse.quantity import listed
from harness.machine.environment import other_machine
from harness.schema.measured import Measured
from harness.schema.metrics import metric as definition_of

Rounds: TypeAlias = dict[str, Measured]
"""By name of the round."""

REASON_LENGTH = 160
OTHER_THING = "PARITY_FAILED"
"""How rounds end that ran well and trained something else: they were measured, and are no comparison."""
NOTHING = "no round ended well on either side"
"""How the reason begins where a cell was measured nowhere."""


def refused(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """Why two sets of rounds of one cell cannot be compared at all; None: they can."""
    return no_pairs(a, b) or incomplete(a, b)


def no_pairs(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """Why two sets of rounds of one cell are nothing to be compared, whatever became of them; None: they are."""
    for name, side in (("A", a), ("B", b)):
        if not side:
            return f"only {'B' if name == 'A' else 'A'} has it"
        names = [item.round for item in side]
        if twice := sorted({each for each in names if names.count(each) > 1}):
            return f"{name} has round {listed(twice, most=3)} more than once"
        for what in ("session", "machine"):
            if len({getattr(item, what) for item in side}) > 1:
                return f"the rounds of {name} are of several {what}s"
    return _other_machines(a[0], b[0])


def newly_failing(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """What to say where every round of A ended well and some of B did not: B broke the cell."""
    ended = [f"round {item.round} {_how(item)}" for item in b if item.status != "OK"]
    if not ended or any(item.status != "OK" for item in a):
        return None
    return f"all rounds of A ended well, of B not: {listed(ended, most=3)}"


def incomplete(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """Why the rounds that are left of a cell say nothing; None: none is lost."""
    lost = {
        name: [f"round {item.round} ended {_how(item)}" for item in side if item.status != "OK"]
        for name, side in (("A", a), ("B", b))
    }
    everything = len(lost["A"]) == len(a) and len(lost["B"]) == len(b)
    if everything and not any(item.status == OTHER_THING for item in (*a, *b)):
        return f"{NOTHING}: in A {listed(lost['A'], most=2)}; in B {listed(lost['B'], most=2)}"
    for name, bad in lost.items():
        if bad:
            return f"in {name} {listed(bad, most=3)}: the rounds that are left may be the lucky ones"
    if a[0].session == b[0].session and (alone := {i.round for i in a} ^ {i.round for i in b}):
        return f"round {listed(sorted(alone), most=3)} is on one side only"
    return None


def _how(item: Measured) -> str:
    return f"{item.status} ({item.reason[:REASON_LENGTH]})" if item.reason else item.status


def _other_machines(a: Measured, b: Measured) -> str | None:
    """Keys that differ, or keys that are equal (or not given) where what they stand for differs."""
    if a.machine != b.machine:
        return f"other machines: {_differing(a.environment, b.environment) or 'their keys differ'}"
    if apart := other_machine(a.environment, b.environment):
        return f"other machines: {listed(apart, most=3)}"
    return None


def _differing(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return listed([f"{key} {a.get(key, 'unknown')} against {b.get(key, 'unknown')}" for key in keys], most=3)


def unusable(criterion: Criterion, sides: tuple[Rounds, Rounds]) -> str | None:
    """Why a metric of these rounds cannot be judged; None: it can."""
    for name, side in zip("AB", sides, strict=True):
        for item in side.values():
            if bad := no_figure(criterion, item.metrics[criterion.metric]):
                return f"round {item.round} of {name} is {bad}"
    return None


def no_figure(criterion: Criterion, value: float | None) -> str | None:
    """Why a value is none of the criterion's metric: `-1: no s is that`; None: it may be one.

    Nothing that is timed takes no time, and no first step reaches a target before it. A loss may be below 0.
    """
    if value is None or not math.isfinite(value):
        return f"{value}: no number"
    positive = criterion.kind == "timed" or criterion.metric in TO_TARGET
    counted = positive or criterion.kind != "learned"
    if (counted and value < 0) or (positive and value == 0):
        unit = definition_of(criterion.metric).unit
        return f"{value:g}: no {'count' if unit == '1' else unit} is that"
    return None
