"""When recipes reached their target and when they stopped: seeds that did not are censored, never averaged in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from harness.analyse.answer import answers
from harness.analyse.cells import held_out
from harness.analyse.evaluations import common_step
from harness.analyse.frame import trials_frame
from harness.analyse.study import study
from harness.analyse.target import in_words, reach, seconds_text, steps_text
from harness.analyse.tiles import tiles
from tests.synthetic_recipes import DIVERGED, Recipes, recipes_run, seeds
from tests.test_learning import learning, one_rate, plain, said

# targets


@pytest.mark.parametrize(
    ("reached", "watched", "median", "words"),
    [
        ((140, 120, 160), (), 140, "140 steps (120 to 160) × 19.0 ms = 2.66 s (3 of 3 seeds)"),
        ((120, 160), (), 140, "140 steps (120 to 160) × 19.0 ms = 2.66 s (2 of 2 seeds)"),
        ((120,), (), 120, "120 steps × 19.0 ms = 2.28 s (1 of 1 seed)"),
        (
            (140, 120),
            (400,),
            140,
            "140 steps (120 to 140) × 19.0 ms = 2.66 s (2 of 3 seeds, the other not within 400 steps)",
        ),
        ((120,), (400, 400), None, "120 steps (1 of 3 seeds, the others not within 400 steps)"),
        ((), (400, 400, 400), None, "not within 400 steps in any of 3 seeds"),
    ],
)
def test_steps_to_target(reached: Sequence[float], watched: Sequence[float], median: float | None, words: str) -> None:
    found = reach(1.6, reached, watched, 0.019)
    assert found is not None
    assert found.median == median
    assert plain(in_words(found)) == words


def test_the_median_with_censored_seeds_is_that_of_all_seeds_not_of_those_that_reached_it() -> None:
    found = reach(1.6, (100, 110), (400, 400, 400), 0.02)
    assert found is not None
    assert plain(steps_text(found)) == "> 400"
    assert plain(seconds_text(found)) == "> 8.00 s"
    alone = reach(1.6, (100, 110), (), 0.02)
    assert alone is not None
    assert steps_text(alone) == "105", "leaving the others out would say so"
    early = reach(1.6, (200, 300), (100,), None)
    assert early is not None
    assert early.median == 200, "a seed that was watched until 100 only says nothing of 200"
    assert seconds_text(early) == ""
    assert reach(1.6, (), (), 0.02) is None


def test_a_diverged_seed_never_reaches_its_target() -> None:
    ends = {"adamw": {3e-3: seeds(1.5)}, "lion": {3e-3: [1.5, DIVERGED, 1.52]}}
    at = next(
        each.best.reach
        for each in learning(recipes_run(Recipes(ends=ends))).families
        if each.label == "lion" and each.best
    )
    assert at is not None
    assert (len(at.steps), at.censored) == (2, (200.0,))


def test_first_to_the_target_is_by_seconds_not_by_steps() -> None:
    ends = one_rate(adamw=seeds(1.50), lion=seeds(1.60))
    found = study(recipes_run(Recipes(ends=ends, step_s={"adamw": 0.030, "lion": 0.010})))
    line = next(tile for tile in tiles(found) if tile.title == "First to target").lines[0]
    assert plain(line.what) == "lion, 3 of 3 seeds"
    assert "First to the target, loss 1.75, in seconds: lion, " in plain(" ".join(answers(found)[0].details))


def test_a_run_without_a_target_says_nothing_of_one() -> None:
    headline, details = said(recipes_run(Recipes(target=None)))
    assert "target" not in headline + details
    assert "reaches" not in headline


# early stopping


def test_a_stopped_trial_counts_at_its_best_and_does_not_shorten_the_others() -> None:
    ends = one_rate(adamw=seeds(1.52), lion=seeds(1.40))
    run = recipes_run(Recipes(ends=ends, stops={"lion": 100}))
    found = held_out(run.info, trials_frame(run))
    assert found is not None
    assert found.step == 200
    lion = next(record for record in run.records if record.trial.recipe.label.startswith("lion"))
    best = lion.per_rank[0].facts["early_stopping"]["best_value"]
    assert best in [value for _name, value in found.rounds[lion.trial.cell]]
    assert "Stopped early, its best value counts: lion in 3 of 3 seeds, at step 100." in said(run)[1]
    assert "lion" not in learning(run).areas, "areas under curves of other lengths are not compared"
    unsaid = [record.model_copy(update={"per_rank": []}) for record in run.records]
    assert common_step(unsaid, "loss") == 100, "without the fact the others would be cut"


def test_a_stopped_trial_counts_as_watched_to_the_end() -> None:
    ends = one_rate(adamw=seeds(1.52), lion=seeds(1.60))
    found = learning(recipes_run(Recipes(ends=ends, stops={"lion": 60})))
    at = next(each.best.reach for each in found.families if each.label == "lion" and each.best)
    assert at is not None
    assert (at.steps, at.censored) == ((), (200.0,) * 3), "it would not have reached it later"


WENT_ON = {"stopped_step": None, "best_step": 80, "best_value": 1.4}
"""Early stopping that did not end the trial: all steps were taken."""


@pytest.mark.parametrize(
    "fact", ["at 100", {"stopped_step": 100}, WENT_ON, {**WENT_ON, "stopped_step": 100, "best_value": math.inf}]
)
def test_a_trial_that_went_on_or_a_fact_that_cannot_be_understood_is_no_stop(fact: Any) -> None:
    run = recipes_run(Recipes(ends=one_rate(adamw=seeds(1.5), lion=seeds(1.6))))
    for record in run.records:
        record.per_rank[0].facts["early_stopping"] = fact
    assert common_step(run.records, "loss") == 200
    assert "Stopped" not in said(run)[1]
