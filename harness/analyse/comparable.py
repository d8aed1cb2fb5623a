"""Whether two sets of rounds can be compared at all: what is no pair, no number or broken gets a reason, no verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from harness.analyse.gates import Gate
from harness.analyse.quantity import listed
from harness.schema.measured import Measured
from harness.schema.metrics import metric as definition_of

Rounds: TypeAlias = dict[str, Measured]
"""By name of the round."""

REASON_LENGTH = 160


def newly_failing(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """What to say where every round of A ended well and some of B did not: B broke the cell."""
    ended = [f"round {item.round} {_how(item)}" for item in b if item.status != "OK"]
    if not a or not ended or any(item.status != "OK" for item in a) or a[0].machine != b[0].machine:
        return None
    return f"all rounds of A ended well, of B not: {listed(ended, most=3)}"


def _how(item: Measured) -> str:
    return f"{item.status} ({item.reason[:REASON_LENGTH]})" if item.reason else item.status


def refused(a: Sequence[Measured], b: Sequence[Measured]) -> str | None:
    """Why two sets of rounds of one cell cannot be compared at all; None: they can."""
    for name, side in (("A", a), ("B", b)):
        if not side:
            return f"only {'B' if name == 'A' else 'A'} has it"
        names = [item.round for item in side]
        if twice := sorted({each for each in names if names.count(each) > 1}):
            return f"{name} has round {listed(twice, most=3)} more than once"
        if bad := [f"round {item.round} ended {_how(item)}" for item in side if item.status != "OK"]:
            return f"in {name} {listed(bad, most=3)}: the rounds that are left may be the lucky ones"
        if len({item.session for item in side}) > 1:
            return f"the rounds of {name} are of several sessions"
    if a[0].machine != b[0].machine:
        return f"other machines: {_differing(a[0].environment, b[0].environment) or 'their keys differ'}"
    if a[0].session == b[0].session and (alone := {i.round for i in a} ^ {i.round for i in b}):
        return f"round {listed(sorted(alone), most=3)} is on one side only"
    return None


def _differing(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
    return listed([f"{key} {a.get(key, 'unknown')} against {b.get(key, 'unknown')}" for key in keys], most=3)


def unusable(gate: Gate, sides: tuple[Rounds, Rounds]) -> str | None:
    """Why a metric of these rounds cannot be judged; None: it can."""
    for name, side in zip("AB", sides, strict=True):
        for item in side.values():
            value = item.metrics[gate.metric]
            if value is None or not math.isfinite(value):
                return f"round {item.round} of {name} is {value}: no number"
            if value < 0 or (value == 0 and gate.kind == "timed"):
                return f"round {item.round} of {name} is {value:g}: no {definition_of(gate.metric).unit} is that"
    return None
