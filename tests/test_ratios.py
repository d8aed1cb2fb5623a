"""Ratios: exact on exact data, honest coverage, paired by round, corrected over the matrix."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analyse.frame import trials_frame
from harness.analyse.ratios import (
    Ratio,
    holm,
    log_ratios,
    noise_floor,
    ratio_of_logs,
    ratios_frame,
    verdict,
)
from tests import synthetic_run as made


def speeds(run: object) -> pd.DataFrame:
    frame = ratios_frame(trials_frame(run))  # type: ignore[arg-type]
    return frame[frame["metric"] == "samples_per_s"].set_index(["group", "label"])


def test_the_truth_is_found() -> None:
    found = speeds(made.synthetic_run(made.Shape(rounds=20, noise=0.01)))
    for (_group, label), row in found.iterrows():
        strategy = label.replace(" fp32", "").replace(" bf16", "").replace(" (", "(")
        truth = made.STRATEGIES[strategy] * (0.83 if "bf16" in label else 1.0)
        assert row["value"] == pytest.approx(truth, rel=0.015)
        assert row["rounds"] == 20


def test_drift_that_a_round_shares_cancels_in_the_ratio() -> None:
    """Negative control below: without pairing the same data give an interval many times as wide."""
    run = made.synthetic_run(made.Shape(workloads=("gpt",), rounds=8, noise=0.005, drift=0.3))
    paired = speeds(run).loc[(0, "ddp fp32")]
    assert paired["high"] / paired["low"] < 1.03


def test_shuffled_rounds_widen_the_interval() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), rounds=8, noise=0.005, drift=0.3))
    trials = trials_frame(run)
    paired = ratios_frame(trials, ["samples_per_s"]).set_index("label")["ratio"]["ddp fp32"]
    rng, is_ddp = np.random.default_rng(1), trials["label"] == "ddp fp32"
    shuffled = trials.copy()
    order = rng.permutation(int(is_ddp.sum()))
    shuffled.loc[is_ddp, "samples_per_s"] = trials.loc[is_ddp, "samples_per_s"].to_numpy()[order]
    unpaired = ratios_frame(shuffled, ["samples_per_s"]).set_index("label")["ratio"]["ddp fp32"]
    assert math.log(unpaired.high / unpaired.low) > 5 * math.log(paired.high / paired.low)
    assert unpaired.value == pytest.approx(paired.value), "the mean does not depend on the pairing"


@pytest.mark.parametrize("rounds", [3, 5, 10, 20])
def test_the_interval_holds_the_truth_in_95_of_100_cases(rounds: int) -> None:
    rng, truth = np.random.default_rng(rounds), math.log(1.3)
    logs = rng.normal(truth, 0.05, (2000, rounds))
    held = [ratio.low <= 1.3 <= ratio.high for ratio in map(ratio_of_logs, logs)]
    assert 0.935 <= np.mean(held) <= 0.965


def test_an_interval_with_z_instead_of_t_would_fail_that_check() -> None:
    rng = np.random.default_rng(3)
    logs = rng.normal(0, 0.05, (2000, 3))
    reach = 1.96 * logs.std(axis=1, ddof=1) / math.sqrt(3)
    assert np.mean(abs(logs.mean(axis=1)) <= reach) < 0.90


def test_p_is_that_of_a_t_test() -> None:
    logs = np.array([0.1, 0.12, 0.07, 0.13])
    assert ratio_of_logs(logs).p == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)
    interval = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert math.log(ratio_of_logs(logs).low) == pytest.approx(interval.low)


def test_one_round_has_a_ratio_and_no_interval() -> None:
    ratio = ratio_of_logs(np.array([math.log(1.5)]))
    assert ratio == Ratio(pytest.approx(1.5), None, None, None, (pytest.approx(1.5),))
    found = speeds(made.one_round())
    assert set(found["verdict"]) == {"undecided"}
    assert found["low"].isna().all()
    assert set(found["why"]) == {"one round: there is no interval"}


def test_an_exact_metric_has_an_interval_of_no_width() -> None:
    assert ratio_of_logs(np.log([1.08, 1.08, 1.08])).p == 0.0
    same = ratio_of_logs(np.zeros(3))
    assert (same.low, same.high, same.p) == (1.0, 1.0, 1.0)


def test_rounds_that_only_one_of_both_has_are_left_out() -> None:
    run = made.broken_run()
    found = speeds(run)
    assert found.loc[(1, "ddp fp32"), "rounds"] == 2, "its third round timed out"
    assert (0, "ddp bf16") not in found.index, "it never ended well"


def test_trials_that_failed_parity_are_not_compared() -> None:
    run = made.broken_run()
    failed = [record for record in run.records if record.status == "PARITY_FAILED"]
    assert failed
    assert all("samples_per_s" in record.metrics for record in failed), "they do hold figures"
    assert (1, "fsdp bf16") not in speeds(run).index


def test_ratios_of_metrics_nobody_has_are_empty() -> None:
    trials = trials_frame(made.only_failures())
    assert ratios_frame(trials).empty
    assert log_ratios(trials, "no such cell", "samples_per_s").empty


def test_holm_against_worked_example() -> None:
    corrected = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert corrected[[0, 1, 3, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(corrected[2])


def test_the_correction_keeps_identical_code_from_being_called_different() -> None:
    """40 matrices of 20 identical cells: without correction more than half of them raise a false alarm."""
    rng = np.random.default_rng(5)
    p = np.array([[ratio_of_logs(row).p for row in rng.normal(0, 0.05, (20, 6))] for _matrix in range(40)])
    assert np.mean((p < 0.05).any(axis=1)) > 0.4
    assert np.mean([(holm(row) < 0.05).any() for row in p]) < 0.15


@pytest.mark.parametrize(
    ("ratio", "p_holm", "word"),
    [
        (Ratio(1.3, 1.2, 1.4, 0.001, (1.3,) * 3), 0.01, "faster"),
        (Ratio(0.7, 0.6, 0.8, 0.001, (0.7,) * 3), 0.01, "slower"),
        (Ratio(1.3, 1.2, 1.4, 0.02, (1.3,) * 3), 0.2, "undecided"),
        (Ratio(1.005, 1.004, 1.006, 1e-9, (1.005,) * 5), 1e-8, "no difference shown"),
        (Ratio(1.01, 0.96, 1.05, 0.6, (1.01,) * 3), 1.0, "no difference shown"),
        (Ratio(1.01, 0.70, 1.40, 0.9, (1.01,) * 3), 1.0, "undecided"),
        (Ratio(1.6, 1.5, 1.7, 0.0001, (1.6,) * 2), 0.001, "undecided"),
        (Ratio(1.6, None, None, None, (1.6,)), None, "undecided"),
    ],
)
def test_verdicts(ratio: Ratio, p_holm: float | None, word: str) -> None:
    said, why = verdict(ratio, p_holm, higher_is_faster=True)
    assert said == word
    assert why
    opposite = {"faster": "slower", "slower": "faster"}
    assert verdict(ratio, p_holm, higher_is_faster=False)[0] == opposite.get(word, word)


def test_noise_is_the_spread_between_rounds() -> None:
    run = made.synthetic_run(made.Shape(rounds=30, noise=0.03, drift=0.0))
    noise = noise_floor(trials_frame(run))
    assert noise is not None
    assert noise.sd == pytest.approx(0.03, rel=0.1)
    assert noise.df == 20 * 29
    assert noise_floor(trials_frame(made.one_round())) is None
    assert noise_floor(trials_frame(made.only_failures())) is None
