"""Statistics of paired log ratios, against scipy and by simulation: level, coverage, power."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analyse.stats import EXACT_ROUNDS, Paired, Unpaired, holm, holm_alphas

RNG = np.random.default_rng(7)
SOME = RNG.normal(0.02, 0.05, size=(6, 9))


def test_mean_and_p_are_scipys_and_so_is_the_interval_of_few_rounds() -> None:
    found = Paired.of(SOME)
    assert found.p_t == pytest.approx([stats.ttest_1samp(row, 0.0).pvalue for row in SOME])
    few = SOME[:, :4]
    ends = [stats.ttest_1samp(row, 0.0).confidence_interval(0.95) for row in few]
    assert np.array(Paired.of(few).interval()) == pytest.approx(np.array(ends).T)
    assert Paired.of(few).centre == pytest.approx(few.mean(axis=1))


@pytest.mark.parametrize("rounds", [5, 8, 20])
def test_the_interval_ends_where_the_signed_rank_test_stops_rejecting(rounds: int) -> None:
    row = RNG.normal(0.02, 0.05, size=rounds)
    low, high = (float(each[0]) for each in Paired.of(row).interval())
    p_at = [
        stats.wilcoxon(row - end, method="exact").pvalue for end in (low - 1e-9, low + 1e-9, high - 1e-9, high + 1e-9)
    ]
    assert p_at[0] == pytest.approx(p_at[3])
    assert max(p_at[0], p_at[3]) < 0.07, "6.25 % is what 5 rounds can reach"
    assert p_at[1] > p_at[0]
    assert p_at[2] > p_at[3]
    assert low < Paired.of(row).centre[0] < high


def test_the_interval_of_heavy_tails_holds_its_level_where_t_is_too_wide() -> None:
    rows = RNG.standard_t(1.5, size=(4000, 10))
    low, high = Paired.of(rows).interval()
    assert 0.935 < np.mean((low <= 0) & (high >= 0)) < 0.965
    reach = stats.t.ppf(0.975, 9) * rows.std(axis=1, ddof=1) / np.sqrt(10)
    assert np.mean(np.abs(rows.mean(axis=1)) <= reach) > 0.97


def test_missing_rounds_are_left_out() -> None:
    gaps = SOME.copy()
    gaps[0, [1, 4]] = np.nan
    gaps[1] = np.nan
    gaps[2, 1:] = np.nan
    found, whole = Paired.of(gaps), Paired.of(np.delete(SOME[0], [1, 4]))
    assert found.rounds.tolist() == [7, 0, 1, 9, 9, 9]
    assert (found.mean[0], found.sd[0], found.p_t[0]) == pytest.approx((whole.mean[0], whole.sd[0], whole.p_t[0]))
    assert found.p_sign[0] == whole.p_sign[0]
    assert np.isnan([found.mean[1], found.sd[1], found.sd[2], found.p_t[2], found.p_same(0.01)[2]]).all()
    assert found.mean[2] == SOME[2, 0]


@pytest.mark.parametrize("rounds", [4, 9, EXACT_ROUNDS])
def test_sign_flips_are_scipys_permutations(rounds: int) -> None:
    rows = RNG.normal(0.03, 0.05, size=(3, rounds))
    for row, p in zip(rows, Paired.of(rows).p_sign, strict=True):
        right = stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert p == pytest.approx(right.pvalue)


def test_random_sign_flips_are_near_the_exact_ones() -> None:
    row = RNG.normal(0.012, 0.03, size=16)
    exact = stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert Paired.of(row).p_sign[0] == pytest.approx(exact, abs=4 * np.sqrt(exact / 8191))


def test_one_wild_round_does_not_carry_sign_flips() -> None:
    assert Paired.of([0.001, -0.001, 0.0005, -0.0005, 0.001, 2.0]).p_sign[0] > 0.2


def test_exact_metrics_differ_or_do_not() -> None:
    found = Paired.of([[0.0] * 4, [0.25] * 4])
    assert found.p_t.tolist() == [1.0, 0.0]
    assert found.p_same(0.01).tolist() == [0.0, 1.0]


def test_equivalence_is_two_one_sided_tests() -> None:
    row, band = RNG.normal(0.001, 0.004, size=12), np.log1p(0.01)
    low = stats.ttest_1samp(row, -band, alternative="greater").pvalue
    high = stats.ttest_1samp(row, band, alternative="less").pvalue
    assert Paired.of(row).p_same(band)[0] == pytest.approx(max(low, high))


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Control: the percentile bootstrap, which many tools use, does not."""
    for rounds in (5, 10, 20):
        rows = RNG.normal(0.1, 0.05, size=(4000, rounds))
        low, high = Paired.of(rows).interval()
        assert 0.93 < np.mean((low <= 0.1) & (high >= 0.1)) < 0.96, "5 rounds can reach 93.75 %"
    few = RNG.normal(0.1, 0.05, size=(400, 5))
    drawn = few[:, RNG.integers(0, 5, size=(1000, 5))].mean(axis=2)
    ends = np.percentile(drawn, [2.5, 97.5], axis=1)
    assert np.mean((ends[0] <= 0.1) & (ends[1] >= 0.1)) < 0.90


def test_tests_hold_their_level() -> None:
    found = Paired.of(RNG.normal(0.0, 0.05, size=(4000, 10)))
    assert 0.04 < np.mean(found.p_t < 0.05) < 0.06
    assert 0.035 < np.mean(found.p_sign <= 0.05) < 0.06
    edge = Paired.of(RNG.normal(0.03, 0.02, size=(4000, 10)))
    assert np.mean(edge.p_same(0.03) < 0.05) < 0.06, "same is rarely said of what differs by the band itself"


def test_an_effect_that_could_have_been_seen_is_seen_as_often_as_said() -> None:
    rows = RNG.normal(0.0, 0.05, size=(3000, 12))
    effect = float(np.median(Paired.of(rows).detectable(0.01)))
    assert 0.85 < np.mean(Paired.of(rows + effect).p_t < 0.01) < 0.94


def test_rounds_needed_are_the_fewest_that_do() -> None:
    found = Paired.of(RNG.normal(0.0, 0.05, size=(1, 200)))
    need = int(found.rounds_needed(0.03, 0.05)[0])
    for rounds, enough in ((need, True), (need - 1, False)):
        df = rounds - 1
        reach = stats.t.ppf(0.975, df) + stats.t.ppf(0.9, df)
        assert bool(reach * found.sd[0] / np.sqrt(rounds) <= 0.03) is enough
    assert found.rounds_needed(1e-6, 0.05)[0] == np.inf
    assert found.rounds_needed(0.0, 0.05)[0] == np.inf


def test_welch_is_scipys() -> None:
    a, b = RNG.normal(0, 0.1, size=7), RNG.normal(0.1, 0.2, size=11)
    right = stats.ttest_ind(b, a, equal_var=False)
    found = Unpaired.of(a, b)
    ends = right.confidence_interval(0.95)
    assert (found.p, *found.interval()) == pytest.approx((right.pvalue, ends.low, ends.high))
    assert np.isnan(Unpaired.of(a[:1], b).error)
    assert Unpaired.of([1.0, 1.0], [1.0, 1.0]).p == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_levels_it_holds_each_test_to(values: list[float]) -> None:
    p = np.array(values)
    order = np.argsort(p, kind="stable")
    passed = np.cumprod(p[order] <= holm_alphas(p, 0.05)[order]).astype(bool)
    assert ((holm(p) <= 0.05)[order] == passed).all()


def test_a_matrix_of_a_large_suite_is_judged_at_once() -> None:
    """20 metrics × 40 cells × 20 rounds. Its time is printed, not asserted: a second is the goal."""
    found = Paired.of(RNG.normal(0.0, 0.03, size=(800, 20)))
    began = time.process_time()
    found.p_sign, holm(found.p_t), found.p_same(0.01), found.detectable(0.01), found.rounds_needed(0.03, 0.01)
    print(f"{time.process_time() - began:.2f} s CPU")
    assert found.p_sign.shape == (800,)
