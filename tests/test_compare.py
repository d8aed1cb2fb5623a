"""Two versions compared: right about identical code, sensitive to what is planted, silent where nothing can be said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.analyse.compare import Judgement, compare
from harness.analyse.criteria import criteria
from harness.schema.measured import Measured

RNG = np.random.default_rng(11)
BETWEEN, WITHIN = 0.2, 0.02
"""SD of what a round does to both sides, and of what is left in their ratio."""


def side(
    cells: int = 1, rounds: int = 20, slower: float = 1.0, seed: int = 0, own: int = 1, **changes: Any
) -> list[Measured]:
    """Rounds of a session: the same seed, the same session. own: tells the sides apart."""
    shared = np.random.default_rng(seed).normal(0, BETWEEN, size=(cells, rounds))
    noise = np.random.default_rng((seed, own)).normal(0, WITHIN / np.sqrt(2), size=(2, cells, rounds))
    found = []
    for cell in range(cells):
        for number in range(rounds):
            cpu = 0.02 * slower * float(np.exp(shared[cell, number] + noise[0, cell, number]))
            wall = 0.02 * slower * float(np.exp(shared[cell, number] + 3 * noise[1, cell, number]))
            metrics = {"step_cpu_s": cpu, "step_s": wall, "peak_allocated_bytes": 1000.0, "parameters": 10.0}
            asked = {
                "cell": f"c{cell}",
                "round": str(number),
                "session": f"s{seed}",
                "machine": "m",
                "metrics": metrics,
            }
            found.append(Measured.model_validate(asked | changes))
    return found


def said(judgements: Sequence[Judgement], metric: str, cell: str = "c0") -> Judgement:
    (found,) = [each for each in judgements if (each.cell, each.metric) == (cell, metric)]
    return found


def flagged(judgements: Sequence[Judgement]) -> list[Judgement]:
    return [each for each in judgements if each.verdict in ("regressed", "improved")]


def changed(items: list[Measured], number: int, **changes: Any) -> list[Measured]:
    return [item.model_copy(update=changes) if i == number else item for i, item in enumerate(items)]


def with_metric(items: list[Measured], name: str, value: Callable[[int], float | None]) -> list[Measured]:
    return [
        item.model_copy(update={"metrics": {**item.metrics, name: value(number)}}) for number, item in enumerate(items)
    ]


# right about identical code, and sensitive


def test_identical_code_is_not_flagged() -> None:
    """120 matrices of 20 timed comparisons: 1 in 100 may have a false verdict. Control: uncorrected, most would."""
    matrices = [compare(side(10, seed=i), side(10, seed=i, own=2)) for i in range(120)]
    assert sum(bool(flagged(found)) for found in matrices) <= 4, "1 % is expected; 5 of 120 come by chance once in 125"
    beyond = [any(each.low and each.high and (each.low > 1 or each.high < 1) for each in found) for found in matrices]
    assert sum(beyond) > 40


def test_three_percent_is_found_in_the_right_direction() -> None:
    slower = [said(compare(side(seed=i), side(seed=i, own=2, slower=1.03)), "step_cpu_s") for i in range(100)]
    assert sum(each.verdict == "regressed" for each in slower) >= 95
    assert sum(each.verdict == "same" for each in slower) <= 1
    quicker = said(compare(side(), side(own=2, slower=0.97)), "step_cpu_s")
    assert (quicker.verdict, quicker.low is not None) == ("improved", True)
    assert quicker.effect == pytest.approx(0.97, abs=0.02)


def test_wall_time_on_cpu_needs_a_tenth() -> None:
    little, much = (compare(side(rounds=40), side(rounds=40, own=2, slower=by)) for by in (1.05, 1.2))
    assert said(little, "step_s").verdict != "regressed"
    assert said(much, "step_s").verdict == "regressed"
    assert [each.practical for each in criteria("cuda") if each.metric == "step_s"] == [0.01]


def test_same_is_said_only_where_differences_that_matter_are_ruled_out() -> None:
    many = said(compare(side(rounds=200), side(rounds=200, own=2)), "step_cpu_s")
    assert many.verdict == "same"
    few = said(compare(side(rounds=6), side(rounds=6, own=2)), "step_cpu_s")
    assert few.verdict == "undecided"
    assert few.detectable is not None
    assert few.detectable > 1.02
    assert few.needed is not None
    assert few.needed > 6
    assert "rounds in all would decide" in few.reason


def test_a_few_wild_rounds_do_not_regress_anything() -> None:
    wild = with_metric(side(rounds=6), "step_cpu_s", lambda i: 0.02 if i else 0.08)
    assert said(compare(side(rounds=6, own=1), wild), "step_cpu_s").verdict == "undecided"


def test_where_identical_code_differs_nothing_timed_is_flagged() -> None:
    a, b, null = side(), side(own=2, slower=1.1), side(own=3, slower=1.06)
    assert said(compare(a, b), "step_cpu_s").verdict == "regressed"
    judged = said(compare(a, b, null), "step_cpu_s")
    assert judged.verdict == "undecided"
    assert "identical code differed" in judged.reason
    more = with_metric(b, "peak_allocated_bytes", lambda _: 2000.0)
    assert said(compare(a, more, null), "peak_allocated_bytes").verdict == "regressed", "what is counted stands"


# counted


def test_counted_metrics_are_exact() -> None:
    a = side(rounds=5)
    assert said(compare(a, side(rounds=5, own=2)), "peak_allocated_bytes").verdict == "same"
    for changed_to, verdict in ((1020.0, "regressed"), (900.0, "improved"), (1005.0, "same")):
        b = with_metric(a, "peak_allocated_bytes", lambda _, value=changed_to: value)  # type: ignore[misc]
        assert said(compare(a, b), "peak_allocated_bytes").verdict == verdict
    jumping = with_metric(a, "peak_allocated_bytes", lambda i: 900.0 + 100 * i)
    assert said(compare(a, jumping), "peak_allocated_bytes").verdict == "undecided"
    other = said(compare(a, with_metric(a, "parameters", lambda _: 11.0)), "parameters")
    assert (other.verdict, other.reason) == ("not comparable", "10 against 11: another thing was measured")


# what is no comparison

GOOD = side(rounds=5)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([], "only A has it"),
        ([*GOOD, GOOD[2]], "B has round 2 more than once"),
        (GOOD[:4], "round 4 is on one side only"),
        (changed(GOOD, 0, session="another"), "the rounds of B are of several sessions"),
        (
            [each.model_copy(update={"machine": "n", "environment": {"cpu_model": "Y"}}) for each in GOOD],
            "other machines: cpu_model unknown against Y",
        ),
    ],
)
def test_rounds_that_are_no_pairs_are_never_judged(broken: list[Measured], reason: str) -> None:
    (found,) = compare(GOOD, broken)
    assert (found.verdict, found.reason) == ("not comparable", reason)


def test_a_cell_that_b_broke_has_regressed() -> None:
    broken = changed(GOOD, 1, status="OOM")
    (found,) = compare(GOOD, broken)
    assert (found.verdict, found.metric) == ("regressed", "status")
    assert found.reason == "all rounds of A ended well, of B not: round 1 OOM"
    (mended,) = compare(broken, GOOD)
    assert mended.verdict == "not comparable"
    assert mended.reason == "in A round 1 ended OOM: the rounds that are left may be the lucky ones"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.0, "round 3 of B is 0: no s is that"),
        (-1.0, "round 3 of B is -1: no s is that"),
        (float("nan"), "round 3 of B is nan: no number"),
        (None, "round 3 of B is None: no number"),
    ],
)
def test_values_that_no_clock_shows_are_never_judged(value: float | None, reason: str) -> None:
    broken = with_metric(GOOD, "step_cpu_s", lambda i: value if i == 3 else 0.02)
    found = said(compare(GOOD, broken), "step_cpu_s")
    assert (found.verdict, found.reason) == ("not comparable", reason)
    assert said(compare(GOOD, broken), "peak_allocated_bytes").verdict == "same", "other metrics are judged"


def test_a_metric_that_some_rounds_lack_is_not_judged() -> None:
    lacking = [each.model_copy(update={"metrics": {"step_s": 0.02}}) if i else each for i, each in enumerate(GOOD)]
    assert said(compare(GOOD, lacking), "step_cpu_s").reason == "some rounds lack it"


def test_few_rounds_are_undecided() -> None:
    found = said(compare(side(rounds=4), side(rounds=4, own=2, slower=2.0)), "step_cpu_s")
    assert (found.verdict, found.reason) == ("undecided", "4\u00a0rounds: a verdict needs 6")


# two sessions


def sessions(slower: float, machine_slower: float, anchored: bool = True) -> list[Judgement]:
    """An anchor and a cell, measured in two sessions on a machine that was slower in the second."""

    def both(seed: int, by: float, session: float) -> list[Measured]:
        anchor = side(rounds=20, seed=seed, own=1, slower=session, anchor=anchored)
        cell = side(rounds=20, seed=seed, own=2, slower=session * by, cell="mine")
        return [*anchor, *cell]

    return compare(both(1, 1.0, 1.0), both(2, slower, machine_slower))


def test_two_sessions_are_compared_through_what_did_not_change() -> None:
    assert said(sessions(1.0, 1.5), "step_cpu_s", "mine").verdict != "regressed"
    assert said(sessions(1.06, 0.7), "step_cpu_s", "mine").verdict == "regressed"
    wall = said(sessions(2.0, 0.7), "step_s", "mine")
    assert (wall.verdict, "other work" in wall.reason) == ("undecided", True)
    anchor = [each.metric for each in sessions(1.06, 0.7) if each.cell == "c0"]
    assert anchor == ["peak_allocated_bytes", "parameters"], "its time is no news, but it must be the same thing"


def test_two_sessions_without_an_anchor_say_nothing() -> None:
    found = said(sessions(1.0, 1.5, anchored=False), "step_cpu_s", "mine")
    assert found.verdict == "undecided"
    assert "stored times of identical code differ" in found.reason
