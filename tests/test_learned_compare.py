"""What two versions learned: found by few paired seeds, silent about rounding, no verdict where seeds are no pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.analyse.compare import compare
from harness.analyse.gate import gate
from harness.analyse.judgement import Judgement
from harness.analyse.sides import of_run
from harness.schema.measured import Learned, Measured
from tests.synthetic_recipes import Recipes, recipes_run, seeds

BETWEEN = 0.026
"""SD of the log area between seeds, as measured; of a pair's ratio 0.0005 to 0.003."""


def side(
    count: int = 3, worse: float = 0.0, own: int = 1, sd: float = 0.001, session: str = "", **learned: Any
) -> list[Measured]:
    """A run of so many seeds. worse: log ratio of its areas; own, sd: what is its own in them; 0: A itself."""
    shared = np.random.default_rng(5).normal(0, BETWEEN, count)
    noise = np.random.default_rng((6, own)).normal(0, sd, count) if own else np.zeros(count)
    asked = {"steps": 400, "train_s": 8.0, "first_loss": 4.6, "metric": "nats", "target": 2.0} | learned
    found = []
    for seed in range(count):
        area = 2.5 * math.exp(shared[seed] + noise[seed] + worse)
        metrics = {"loss_area": area, "eval_nats": area - 0.7, "steps_to_target": 100.0 + 20 * (seed % 3)}
        told = Learned.model_validate({"seed": seed, **asked})
        found.append(Measured(cell="c", round=f"seed {seed}", session=session or f"run {own}", machine="m",
                              learned=told, metrics=metrics))  # fmt: skip
    return found


def with_metric(items: Sequence[Measured], name: str, value: Callable[[int], float | None]) -> list[Measured]:
    """The rounds with another value of a metric; NaN: without it."""
    found = []
    for number, item in enumerate(items):
        metrics = {key: each for key, each in item.metrics.items() if key != name}
        new = value(number)
        found.append(item.model_copy(update={"metrics": metrics if new != new else {**metrics, name: new}}))
    return found


def told(judgements: Sequence[Judgement], metric: str = "loss_area") -> Judgement:
    (found,) = [each for each in judgements if each.metric == metric]
    return found


A = side(own=0)


# the area under the loss


def test_a_small_change_is_found_by_three_seeds_of_two_sessions() -> None:
    found = [told(compare(A, side(worse=0.01, own=own))) for own in range(1, 60)]
    assert sum(each.verdict == "regressed" for each in found) >= 57
    assert found[0].effect == pytest.approx(1.01, abs=0.003)
    assert "correlate at 1.00" in found[0].reason
    assert told(compare(A, side(worse=-0.01))).verdict == "improved"


def test_seeds_that_are_no_pairs_would_not_find_it() -> None:
    """Control: the same values against those of other seeds."""
    found = []
    for own in range(1, 60):
        b = side(6, worse=0.01, own=own)[3:]
        moved = [item.model_copy(update={"learned": item.learned.model_copy(update={"seed": seed})})
                 for seed, item in enumerate(b) if item.learned]  # fmt: skip
        found.append(told(compare(A, moved)))
    assert sum(each.verdict == "regressed" for each in found) <= 6


def test_identical_runs_are_the_same_with_any_number_of_seeds() -> None:
    for count in (1, 3, 24):
        judged = compare(side(count, own=0, session="x"), side(count, own=0, session="y"))
        assert {each.verdict for each in judged} == {"same"}
        assert {each.metric for each in judged} == {"loss_area", "eval_nats", "steps_to_target"}
        assert gate(judged, strict=True) == 0


def test_rounding_is_no_difference() -> None:
    words = [told(compare(A, side(own=own, sd=1e-5))).verdict for own in range(1, 60)]
    assert set(words) == {"same"}, "a hundredth of what matters, whatever its p"
    louder = [told(compare(A, side(own=own, sd=0.002))).verdict for own in range(1, 100)]
    assert louder.count("regressed") + louder.count("improved") <= 12, "5 % are expected"
    assert "undecided" in louder


def test_one_correction_is_over_all_cells() -> None:
    def cells(own: int) -> list[Measured]:
        return [
            item.model_copy(update={"cell": f"c{number}"})
            for number in range(20)
            for item in side(own=own and 100 * own + number, sd=0.002)
        ]

    wrong = [any(each.verdict in ("regressed", "improved") for each in compare(cells(0), cells(own)))
             for own in range(1, 21)]  # fmt: skip
    assert sum(wrong) <= 5, "of 20 matrices of 20 cells; uncorrected most would have one"


def test_two_seeds_are_undecided() -> None:
    found = told(compare(A[:2], side(2, worse=0.05)))
    assert (found.verdict, found.reason) == ("undecided", "2\u00a0seeds: a verdict needs 3")


def test_low_correlation_is_told() -> None:
    b = with_metric(A, "loss_area", lambda seed: (2.5, 2.4, 2.6)[seed])
    other = with_metric(A, "loss_area", lambda seed: (2.45, 2.5, 2.4)[seed])
    assert "pairing helps little" in told(compare(b, other)).reason
    assert "seeds in all would decide" in told(compare(b, other)).reason


def test_equal_differences_of_few_samples_are_no_proof() -> None:
    """A share of 20 held-out samples that is one sample less for each seed: t would be sure of it."""
    ups = {"metric": "accuracy", "better": "higher"}
    a = with_metric(side(own=0, **ups), "eval_accuracy", lambda seed: 0.9 - 0.05 * seed)
    b = with_metric(side(own=0, **ups), "eval_accuracy", lambda seed: 0.85 - 0.05 * seed)
    level = with_metric(side(own=0, **ups), "eval_accuracy", lambda seed: 0.85)
    assert told(compare(a, b), "eval_accuracy").verdict == "undecided"
    assert told(compare(with_metric(level, "eval_accuracy", lambda _: 0.9), level), "eval_accuracy").p == 0.25
    far = with_metric(side(own=0, **ups), "eval_accuracy", lambda seed: 0.5 - 0.051 * seed)
    assert told(compare(a, far), "eval_accuracy").verdict == "regressed", "higher is better, and 0.5 is less"


# no pairs, no figures


@pytest.mark.parametrize(
    ("b", "reason"),
    [
        (side(4)[1:], "seed 0 and 3 is on one side only"),
        (side(first_loss=4.7), "at the first step of seed 0 the loss is 4.6 against 4.7: other initial weights, data"),
        (side(steps=300), "other things were asked: 400 steps, nats (lower is better), target 2 against 300 steps"),
        (side(target=1.5), "target 2 against 400 steps, nats (lower is better), target 1.5"),
        ([side()[0].model_copy(update={"learned": None}), *side()[1:]], "round seed 0 of B does not say what it"),
    ],
)
def test_rounds_that_are_no_pairs_are_not_judged(b: list[Measured], reason: str) -> None:
    found = [each for each in compare(A, b) if each.metric == "loss_area"]
    assert [each.verdict for each in found] == ["not comparable"]
    assert reason in found[0].reason
    assert gate(compare(A, b)) == 3


@pytest.mark.parametrize(
    ("value", "reason"),
    [(math.nan, "some rounds lack it"), (math.inf, "is inf: no number"), (None, "is None: no number")],
)
def test_areas_that_are_no_numbers_are_not_judged(value: float | None, reason: str) -> None:
    broken = with_metric(A, "loss_area", lambda seed: value if seed == 1 else 2.5)
    for sides in ((A, broken), (broken, A)):
        found = told(compare(*sides))
        assert found.verdict == "not comparable"
        assert reason in found.reason


def test_a_control_that_learned_something_else_silences_what_is_learned_alone() -> None:
    b, null = side(worse=0.02), side(worse=0.02, own=2)
    assert told(compare(A, b, null)).verdict == "undecided"
    assert "identical code differed" in told(compare(A, b, null)).reason
    assert told(compare(A, b, side(own=0))).verdict == "regressed"


# steps and seconds to the target


def slow(count: int, steps: Callable[[int], float], **asked: Any) -> list[Measured]:
    return with_metric(side(count, own=0, **asked), "steps_to_target", steps)


def test_the_target_is_judged_with_those_that_did_not_reach_it() -> None:
    a = slow(8, lambda seed: 100.0 + seed)
    late = told(compare(a, slow(8, lambda seed: 200.0 + seed)), "steps_to_target")
    assert (late.verdict, late.effect) == ("regressed", pytest.approx(2.0, abs=0.1))
    never = told(compare(a, slow(8, lambda _seed: math.nan)), "steps_to_target")
    assert never.verdict == "regressed"
    assert never.reason.replace("\u00a0", " ").endswith("103.5 steps (8 of 8 seeds) against > 400 steps (0 of 8 seeds)")
    assert told(compare(slow(8, lambda _seed: math.nan), a), "steps_to_target").verdict == "improved"
    little = told(compare(a, slow(8, lambda seed: 108.5 + seed)), "steps_to_target")
    assert little.verdict == "undecided", "shown, but less than a tenth"


def test_three_seeds_do_not_prove_a_later_target() -> None:
    """Control: all of A before all of B is a p of 0.02 by log-rank, and one in ten by chance."""
    found = told(compare(slow(3, lambda seed: 100.0 + seed), slow(3, lambda seed: 200.0 + seed)), "steps_to_target")
    assert found.verdict == "undecided"
    assert "a verdict needs 6" in found.reason


def test_what_nobody_reached_is_not_told() -> None:
    nobody = slow(3, lambda _seed: math.nan)
    assert {each.metric for each in compare(nobody, nobody)} == {"loss_area", "eval_nats"}
    assert "steps_to_target" not in {each.metric for each in compare(side(target=None), side(own=2, target=None))}


def test_a_count_below_one_is_none() -> None:
    found = told(compare(A, slow(3, lambda seed: float(-seed))), "steps_to_target")
    assert (found.verdict, found.reason) == ("not comparable", "round seed 0 of B is 0: no count is that")


def test_seconds_are_judged_within_a_session_only() -> None:
    def timed(factor: float, session: str) -> list[Measured]:
        return with_metric(side(8, own=0, session=session), "time_to_target_s", lambda seed: factor * (2.0 + seed / 10))

    within = told(compare(timed(1, "s"), timed(2, "s")), "time_to_target_s")
    assert within.verdict == "regressed"
    across = told(compare(timed(1, "s"), timed(2, "t")), "time_to_target_s")
    assert across.verdict == "undecided"
    assert across.reason.startswith("seconds of two sessions: 2.35")


# from runs


def test_runs_say_what_they_learned() -> None:
    base = Recipes(ends={"adamw": {3e-3: seeds(1.52)}})
    a = of_run(recipes_run(base))
    assert a[0].learned is not None
    assert a[0].learned.model_dump() == {
        "seed": 0, "steps": 200, "train_s": pytest.approx(3.8), "first_loss": pytest.approx(4.55, abs=0.1),
        "metric": "loss", "better": "lower", "target": 1.75,
    }  # fmt: skip
    assert {each.verdict for each in compare(a, of_run(recipes_run(base))) if each.metric == "loss_area"} == {"same"}
    worse = Recipes(ends={"adamw": {3e-3: seeds(1.57, (0.003, 0.0, -0.001))}})
    judged = compare(a, of_run(recipes_run(worse)))
    assert {each.metric: each.verdict for each in judged if each.metric in ("loss_area", "eval_loss")} == {
        "loss_area": "regressed", "eval_loss": "regressed",
    }  # fmt: skip


def test_a_trial_that_stopped_early_has_no_area_but_its_best_value() -> None:
    run = recipes_run(Recipes(ends={"adamw": {3e-3: seeds(1.52)}}, stops={"adamw": 120}))
    first = of_run(run)[0]
    assert "loss_area" not in first.metrics
    assert first.metrics["eval_loss"] == run.records[0].per_rank[0].facts["early_stopping"]["best_value"]
    assert first.learned is not None
    assert first.learned.steps == 200
