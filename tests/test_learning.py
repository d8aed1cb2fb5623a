"""What recipes learned: best rung, edge, sensitivity, paired seeds, divergence, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.analyse.answer import answers
from harness.analyse.caveats import caveats
from harness.analyse.evaluations import Divergence, divergence
from harness.analyse.families import Family
from harness.analyse.learning import Learning
from harness.analyse.learning_curves import learning_curve, rates
from harness.analyse.paired import adjusted, judged, mean_interval, paired
from harness.analyse.study import Study, study
from harness.analyse.tiles import tiles
from harness.run.stored import StoredRun
from harness.schema.record import Record, Status
from tests import synthetic_recipes as made
from tests import synthetic_run
from tests.synthetic_recipes import DIVERGED, Recipes, recipes_run, seeds


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def learning(run: StoredRun) -> Learning:
    found = study(run).groups[0].learning
    assert found is not None
    return found


def said(run: StoredRun) -> tuple[str, str]:
    first = answers(study(run))[0]
    return plain(first.text), plain(" ".join(first.details))


def family(found: Learning, label: str) -> Family:
    return next(each for each in found.families if each.label.startswith(label))


def one_rate(**ends: Sequence[float]) -> made.Ends:
    return {name: {3e-3: own} for name, own in ends.items()}


# the answer


def test_the_best_recipe_with_its_rate_interval_seeds_and_time_to_target() -> None:
    headline, details = said(recipes_run())
    assert headline == (
        "For gpt/nano on 1 of 2 × CPU share: the baseline adamw at lr 0.003 learns best: held-out loss 1.52 "
        "[1.43, 1.61] after 200 steps over 3 seeds, against 1.66 of lion at lr 0.001; it reaches 1.75 after 120 steps "
        "(120 to 140) × 19.0 ms = 2.28 s (3 of 3 seeds)."
    )
    assert "Without learning: unigram 3.24, bigram 2.32." in details
    assert (
        "The target, loss 1.75, was not reached in every seed by sgd(momentum=0.9) at lr 0.01 (0 of 3 seeds)" in details
    )
    assert "Diverged: lion at lr 0.01 (2 of 3 seeds, first at step 17, last finite loss" in details
    assert "faster" not in headline + details


def test_against_a_baseline_that_is_not_the_best() -> None:
    headline, _details = said(
        recipes_run(Recipes(baseline={"optimizer": {"name": "sgd", "momentum": 0.9}, "lr": 1e-2}))
    )
    assert ": adamw at lr 0.003 learns best: held-out loss 1.52 [1.43, 1.61] " in headline
    assert ", against 1.98 of the baseline sgd(momentum=0.9) at lr 0.01;" in headline


def test_a_baseline_at_a_rate_that_is_not_its_best_is_taken_at_its_best() -> None:
    headline, _details = said(recipes_run(Recipes(baseline={"optimizer": "adamw", "lr": 1e-2})))
    assert "the baseline's recipe adamw at lr 0.003 learns best" in headline


def test_no_difference_is_not_called_a_win() -> None:
    ends = one_rate(adamw=seeds(1.52), lion=seeds(1.519))
    headline, details = said(recipes_run(Recipes(ends=ends)))
    assert "no difference shown: the best, lion, reached held-out loss" in headline
    assert "Not shown to learn worse than lion: adamw (+0.066 % [+0.062, +0.070], no difference shown)." in details
    headline, _details = said(recipes_run(Recipes(ends=one_rate(adamw=seeds(1.519), lion=seeds(1.52)))))
    assert "nothing is shown to learn better than the baseline adamw: held-out loss" in headline


def test_differences_that_matter_and_0_are_undecided() -> None:
    headline, _details = said(recipes_run(Recipes(ends=one_rate(adamw=[1.5, 1.6, 1.7], lion=[1.7, 1.4, 1.6]))))
    assert "undecided: lion reached held-out loss" in headline
    assert "the interval holds both 0 and differences that matter" in headline


def test_better_than_the_baseline_but_not_than_all() -> None:
    ends = one_rate(adamw=seeds(1.9), lion=seeds(1.52), sgd=seeds(1.521))
    headline, details = said(recipes_run(Recipes(ends=ends)))
    assert ": lion learns better than the baseline: held-out loss 1.52" in headline
    assert ", against 1.90 of the baseline adamw;" in headline
    assert "learns best" not in headline
    assert "Not shown to learn worse than lion: sgd" in details


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_called_better_on_fewer_than_three_seeds(count: int) -> None:
    run = recipes_run(Recipes(ends=one_rate(adamw=seeds(3.0)[:count], lion=seeds(1.5)[:count])))
    headline, details = said(run)
    assert "undecided: lion reached the best" in headline
    assert "nothing is called better on fewer than 3 seeds" in headline
    assert "learns b" not in headline + details
    assert not answers(study(run))[0].settled
    assert {pair.verdict for pair in learning(run).against.values()} == {"undecided"}
    assert any("nothing is called better or worse on fewer than 3" in text for text in caveats(study(run)))
    assert "not shown better than 1 other" in plain(tiles(study(run))[0].lines[0].what)


def test_everything_diverged() -> None:
    headline, _details = said(recipes_run(Recipes(ends=one_rate(adamw=[DIVERGED] * 3, lion=[DIVERGED] * 3))))
    assert "no trial ended well, so nothing can be said about what is learned." in headline


def test_only_one_recipe_ended_well() -> None:
    headline, _details = said(recipes_run(Recipes(ends=one_rate(adamw=[DIVERGED] * 3, lion=seeds(1.5)))))
    assert "only lion was evaluated: held-out loss 1.50" in headline


def test_groups_about_speed_stay_about_speed() -> None:
    for run in (synthetic_run.synthetic_run(), synthetic_run.one_cell()):
        assert all(group.learning is None for group in study(run).groups)
    both = recipes_run()
    ddp = [
        record.model_copy(update={"trial": record.trial.model_copy(update={"strategy": made.made_choice("ddp")})})
        for record in both.records
    ]
    info = both.info.model_copy(update={"compared_keys": ["strategy", "recipe"]})
    assert study(replace(both, info=info, records=[*both.records, *ddp])).groups[0].learning is None


def test_a_recipe_study_that_is_never_evaluated_is_about_speed() -> None:
    run = recipes_run()
    records = [
        record.model_copy(update={"evaluations": [], "trial": record.trial.model_copy(update={"eval_every": 0})})
        for record in run.records
    ]
    assert study(replace(run, records=records)).groups[0].learning is None


# families


def test_families_have_what_differs_in_their_name_and_rungs_in_order() -> None:
    found = learning(recipes_run())
    assert [(each.label, [rung.lr for rung in each.rungs]) for each in found.families] == [
        ("adamw", [1e-3, 3e-3, 1e-2]),
        ("lion", [1e-3, 3e-3, 1e-2]),
        ("sgd(momentum=0.9)", [1e-3, 3e-3, 1e-2]),
    ]
    assert [each.best.lr for each in found.families if each.best] == [3e-3, 1e-3, 1e-2]


def test_the_edge_of_the_ladder_is_warned_of() -> None:
    found = learning(recipes_run())
    assert [each.edge for each in found.families] == ["", "smallest", "largest"]
    assert found.edges == [
        "lion: the best rate is the smallest tried, 0.001",
        "sgd(momentum=0.9): the best rate is the largest tried, 0.01",
    ]
    warned = [text for text in caveats(study(recipes_run())) if "the best rate is the largest tried" in text]
    assert len(warned) == 1


def test_a_rate_beyond_the_best_that_diverged_was_tried() -> None:
    ends = {
        "adamw": {1e-3: seeds(1.8), 3e-3: seeds(1.5), 1e-2: [DIVERGED] * 3},
        "lion": {1e-3: seeds(1.7), 3e-3: seeds(1.6)},
    }
    found = learning(recipes_run(Recipes(ends=ends)))
    assert [each.edge for each in found.families] == ["", "largest"]
    assert "tried) learns best" not in said(recipes_run(Recipes(ends=ends)))[0]
    up = {"adamw": {1e-3: seeds(1.8), 3e-3: seeds(1.5)}, "lion": {1e-3: seeds(1.7), 3e-3: seeds(1.6)}}
    assert "adamw at lr 0.003 (the largest tried) learns best" in said(recipes_run(Recipes(ends=up)))[0]


def test_options_that_all_share_are_left_out_of_names() -> None:
    def names(*labels: str) -> set[str]:
        asked = Recipes(ends=one_rate(**dict.fromkeys(labels, seeds(1.5))), key="schedule", baseline={"lr": 3e-3})
        return {each.label for each in learning(recipes_run(asked)).families}

    assert names("cosine(warmup_steps=20)", "linear(warmup_steps=20)", "onecycle") == {"cosine", "linear", "onecycle"}
    apart = {"cosine(warmup_steps=20.0)", "cosine(warmup_steps=5.0)"}
    assert names("cosine(warmup_steps=20)", "cosine(warmup_steps=5)") == apart, "what differs stays"
    both = names("cosine(warmup_steps=20)", "linear(warmup_steps=20)", "cosine")
    assert both == {"cosine(warmup_steps=20.0)", "linear(warmup_steps=20.0)", "cosine"}, "or two would be one name"
    assert "sgd(momentum=0.9)" in [each.label for each in learning(recipes_run()).families], (
        "one alone is no shared one"
    )


def test_one_rate_has_no_edge() -> None:
    found = learning(recipes_run(Recipes(ends=one_rate(adamw=seeds(1.5), lion=seeds(1.6)))))
    assert not found.ladder
    assert found.edges == []


def test_a_rung_that_lost_seeds_is_not_the_best_because_the_bad_ones_are_gone() -> None:
    ends = {"adamw": {1e-3: seeds(1.8), 3e-3: seeds(1.6), 1e-2: [DIVERGED, 1.2, DIVERGED]}, "lion": {3e-3: seeds(2.0)}}
    best = learning(recipes_run(Recipes(ends=ends))).families[0].best
    assert best is not None
    assert best.lr == 3e-3


@pytest.mark.parametrize(
    ("ends", "sensitivity"),
    [
        ((1.50, 1.52, 1.55, 1.9), "≥ 10×"),  # the lowest tried is near: a lower one may be, too
        ((1.9, 1.50, 1.55, 1.9), "3.3×"),
        ((1.9, 1.50, 1.9, 1.52), "1×"),  # an island beyond a bad rung does not count
    ],
)
def test_sensitivity_is_the_factor_between_near_rates(ends: Sequence[float], sensitivity: str) -> None:
    ladder = dict(zip((1e-3, 3e-3, 1e-2, 3e-2), map(seeds, ends), strict=True))
    found = learning(recipes_run(Recipes(ends={"adamw": ladder, "lion": {3e-3: seeds(2.0)}})))
    assert family(found, "adamw").sensitivity == sensitivity


def test_divergence_has_its_step_and_last_finite_loss() -> None:
    run = recipes_run()
    rung = family(learning(run), "lion").rungs[-1]
    assert [(each.seed, each.step) for each in rung.diverged] == [(0, 17), (2, 17)]
    assert rung.seeds == 3
    assert list(rung.finals) == [1], "the seed that learned is kept, those that diverged are no value"
    record = next(record for record in run.records if record.status is Status.DIVERGED)
    from_series, from_reason = divergence(record, run.series[record.trial.id]), divergence(record, None)
    assert from_series.step == from_reason.step == 17
    assert from_series.last_loss == pytest.approx(from_reason.last_loss, rel=1e-4)
    unsaid = record.model_copy(update={"reason": "lost"})
    assert divergence(unsaid, None) == Divergence(0, None, None)


def test_rounds_of_a_seed_are_one_value() -> None:
    run = recipes_run(Recipes(ends=one_rate(adamw=seeds(1.5), lion=seeds(1.6))))
    again = [
        record.model_copy(update={"trial": record.trial.model_copy(update={"repeat": 1})}) for record in run.records
    ]
    found = learning(replace(run, records=[*run.records, *again]))
    assert {len(each.best.finals) for each in found.families if each.best} == {3}
    assert found.against["lion"].seeds == 3, "a second round of a seed is no further seed"


# pairs


def test_seeds_in_common_decide_not_the_means_of_different_seeds() -> None:
    """lion failed on the hard seed: its mean is better for it, but on every seed that both have it is worse."""
    hard = {"adamw": [1.50, 1.52, 1.48, 1.51, 2.60], "lion": [1.56, 1.58, 1.54, 1.57, math.nan]}
    means = {name: sum(value for value in own if value == value) / sum(value == value for value in own)
             for name, own in hard.items()}  # fmt: skip
    assert means["lion"] < means["adamw"], "unpaired the order is the other one"
    run = recipes_run(Recipes(ends=one_rate(**hard)))
    crashed = [
        synthetic_run.failed(record, Status.CRASHED, record.phase, "killed")
        if record.status is Status.DIVERGED
        else record
        for record in run.records
    ]
    found = learning(replace(run, records=crashed))
    assert [each.label for each in found.families] == ["adamw", "lion"]
    assert found.against["lion"].verdict == "worse"
    assert found.against["lion"].seeds == 4
    headline, _details = said(replace(run, records=crashed))
    assert "adamw learns best: held-out loss 1.50 [1.48, 1.53] after 200 steps over 4 seeds, against 1.56" in headline


def test_pairs_see_what_seeds_hide() -> None:
    """Seeds differ by ten times what the recipes do: only in pairs the difference is sure."""
    own, base = {0: 1.50, 1: 1.70, 2: 1.90}, {0: 1.52, 1: 1.72, 2: 1.93}
    pair = paired(own, base, higher=False)
    assert pair is not None
    assert pair.correlation == pytest.approx(1, abs=1e-3)
    assert judged({"one": pair}, higher=False)["one"].verdict == "better"
    shuffled = paired(own, {0: 1.93, 1: 1.52, 2: 1.72}, higher=False)
    assert shuffled is not None
    assert judged({"one": shuffled}, higher=False)["one"].verdict == "undecided", "not sure once the pairs are torn"


def test_ratios_of_losses_and_differences_of_all_else() -> None:
    loss = paired({0: 1.0, 1: 1.1, 2: 0.9}, {0: 2.0, 1: 2.2, 2: 1.8}, higher=False)
    assert loss is not None
    assert loss.ratio
    assert math.exp(loss.difference.value) == pytest.approx(0.5)
    assert plain(loss.in_figures) == "−50 % [−50, −50]"
    share = paired({0: 0.90, 1: 0.92}, {0: 0.80, 1: 0.84}, higher=True)
    assert share is not None
    assert not share.ratio
    assert share.difference.value == pytest.approx(0.09)
    same = paired({0: 0.1, 1: 0.3}, {0: 0.3, 1: 0.1}, higher=True)
    assert same is not None
    assert same.in_figures.startswith("0 ["), "what rounding leaves is no difference"
    below = paired({0: -1.0}, {0: 2.0}, higher=False)
    assert below is not None
    assert not below.ratio, "no logarithm of what is not above 0"
    assert paired({0: 1.0}, {1: 1.0}, higher=False) is None


def test_higher_metrics_are_better_the_other_way_round() -> None:
    own, base = {0: 0.98, 1: 0.97, 2: 0.99}, {0: 0.90, 1: 0.88, 2: 0.91}
    up, down = paired(own, base, higher=True), paired(base, own, higher=True)
    assert up is not None
    assert down is not None
    found = judged({"up": up, "down": down}, higher=True)
    assert [found[name].verdict for name in ("up", "down")] == ["better", "worse"]


def test_many_comparisons_are_corrected() -> None:
    pair = paired({0: 1.50, 1: 1.48, 2: 1.51}, {0: 1.60, 1: 1.64, 2: 1.60}, higher=False)
    assert pair is not None
    assert judged({"alone": pair}, higher=False)["alone"].verdict == "better"
    among = judged({str(number): pair for number in range(12)}, higher=False)["0"]
    assert (among.verdict, among.why.split(":")[0]) == (
        "undecided",
        "does not stand once corrected for all comparisons",
    )


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    import numpy as np

    rng = np.random.default_rng(5)
    found = [mean_interval(list(rng.normal(0.3, 0.2, 3))) for _ in range(2000)]
    covered = sum(each.low <= 0.3 <= each.high for each in found if each.low is not None and each.high is not None)
    assert 0.935 < covered / 2000 < 0.965


def test_adjusted_means() -> None:
    whole = {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 5.0}}
    assert adjusted(whole) == pytest.approx({"a": 1.5, "b": 4.0}), "plain means where all have all seeds"
    holed = adjusted({"a": {0: 1.0, 1: 9.0}, "b": {0: 2.0}})
    assert holed["b"] - holed["a"] == pytest.approx(1.0)
    assert adjusted({"a": {}}) == {}


def test_area_under_the_training_loss_is_paired_too() -> None:
    found = learning(recipes_run())
    assert found.areas["lion"].difference.value > 0
    assert found.areas["lion"].seeds == 3
    assert math.exp(found.areas["sgd(momentum=0.9)"].difference.value) > math.exp(found.areas["lion"].difference.value)


# curves


def test_curves_have_the_band_of_the_seeds_and_the_mean_between() -> None:
    found = learning(recipes_run())
    curve = learning_curve(family(found, "adamw"), "loss")
    assert curve is not None
    assert list(curve.steps) == list(range(20, 201, 20))
    assert (curve.low < curve.mean).all()
    assert (curve.mean < curve.high).all()
    assert curve.seconds[-1] == pytest.approx(200 * 0.019)
    assert curve.mean[-1] == pytest.approx(sum(seeds(1.52)) / 3)
    long = learning(recipes_run(Recipes(every=2)))
    smooth = learning_curve(family(long, "adamw"), "loss")
    assert smooth is not None
    assert len(smooth.mean) == 100


def test_rates_by_step_are_shares_of_the_peak() -> None:
    run = recipes_run()
    found = rates(run, family(learning(run), "adamw"))
    assert found is not None
    steps, share = found
    assert (len(steps), share[0]) == (200, pytest.approx(0.1))
    assert share.max() <= 1
    run.series.clear()
    assert rates(run, family(learning(run), "adamw")) is None


# workloads


def test_each_workload_says_whether_it_reached_its_target() -> None:
    found = answers(study(made.workloads_run()))
    texts = [plain(each.text) for each in found]
    assert texts[0] == (
        "For gpt/nano on 1 of 2 × CPU share: reached its target (loss 1.6) after 160 steps (160 to 180) × 19.0 ms = "
        "3.04 s (3 of 3 seeds): held-out loss 1.52 [1.46, 1.59] after 200 steps over 3 seeds."
    )
    assert "reached its target in 2 of 3 seeds only (accuracy 0.97): after 180 steps" in texts[1]
    assert "the other not within 200 steps; held-out accuracy 0.979 [0.938, 1.00]" in texts[1], "no share is above 1"
    assert [each.settled for each in found] == [True, False]
    assert "Without learning: majority 0.100." in found[1].details


def test_a_workload_that_did_not_reach_its_target() -> None:
    headline, details = said(made.workloads_run({"resnet": (0.5, 0.4, 0.05)}))
    assert (
        "did not reach its target (accuracy 0.97): not within 200 steps in any of 3 seeds, held-out accuracy"
        in headline
    )
    assert "Not better than" not in details
    _headline, idle = said(made.workloads_run({"resnet": (0.05, 0.08, 0.1)}))
    assert "Without learning: majority 0.100. Not better than that." in idle


def test_a_damaged_record_does_not_hide_the_others() -> None:
    run = recipes_run()
    records: list[Record] = []
    for number, record in enumerate(run.records):
        changes: Mapping[str, Any] = {"evaluations": [], "per_rank": [], "metrics": {}} if number % 4 == 0 else {}
        records.append(record.model_copy(update=dict(changes)))
    found: Study = study(replace(run, records=records))
    assert answers(found)[0].text
    assert tiles(found)
