"""The change-point model: rare false alarms whatever the noise, a step found soon and in place; plainer rules fail."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.calibrate import recorded
from benchmarks.calibrate_history import (
    COMMITS,
    CPU,
    PAST,
    STEP_AT,
    Floats,
    false_alarms,
    found,
    knots,
    normal,
    step_in_recorded,
    thresholds,
    with_outliers,
)
from harness.analyse.change_points import (
    FIRST,
    THRESHOLDS,
    ChangePoint,
    change_points,
    jumps,
    spreads,
    statistics,
    threshold,
)

WALL = 0


def of_cell(cell: str, clock: int = CPU) -> list[Floats]:
    return [each.seconds[clock] for each in recorded() if each.cell.startswith(cell)]


# the statistic


def test_statistic_is_the_sum_of_signs_over_every_split() -> None:
    series = np.random.default_rng(0).normal(size=9)
    for count, tested in statistics(series):
        for split in range(1, count):
            pairs = itertools.product(series[:split], series[split:count])
            summed = sum(math.copysign(1, after - before) for before, after in pairs)
            spread = math.sqrt(split * (count - split) * (count + 1) / 3)
            assert tested[split - 1] == pytest.approx(abs(summed) / spread)


def test_spread_is_that_of_ranks_in_any_order() -> None:
    draw = np.random.default_rng(1)
    sums = [sum(np.sign(b - a) for a in x[:4] for b in x[4:]) for x in draw.random((4000, 10))]
    assert np.std(sums) == pytest.approx(spreads(10)[3], rel=0.04)


# right about what does not change, sensitive to what does


@pytest.mark.parametrize("noise", [normal, with_outliers])
def test_false_alarms_are_rare_whatever_the_noise(noise: object) -> None:
    assert false_alarms(noise, 300) <= 0.07, "3 % is expected; 7 % of 300 come by chance once in 1,000"  # type: ignore[arg-type]


def fixed_threshold(values: Floats, percent: float = 0.05) -> bool:
    """What is usual: a value that differs by 5 % from the median of the 20 before it."""
    return any(abs(values[n] - np.median(values[n - PAST : n])) > math.log1p(percent) for n in range(PAST, len(values)))


def test_a_fixed_threshold_on_the_same_data_alarms_far_more_often() -> None:
    """Control: noise with outliers, and single recorded rounds of identical code, wall time against their control."""
    draw = np.random.default_rng(4)
    rounds = np.concatenate(of_cell("resnet", WALL), axis=1)
    recorded_rounds = np.log(rounds[1] / rounds[0])
    past = [draw.permutation(recorded_rounds) for _ in range(20)]
    past += [0.01 * with_outliers(draw, COMMITS) for _ in range(20)]
    assert sum(map(fixed_threshold, past)) >= 38
    assert sum(bool(change_points(values.tolist())) for values in past) <= 5


def test_a_step_is_found_soon_and_where_it_is() -> None:
    for cell in ("gpt", "resnet"):
        assert found(lambda draw, cell=cell: step_in_recorded(of_cell(cell), draw), 40) >= 0.85  # type: ignore[misc]


def test_without_a_control_of_the_same_session_identical_code_changes() -> None:
    """Control: 80 recorded rounds one after another, each arm's own seconds; and the same arms against one another."""
    stored, normalised = [], []
    for cell, clock in itertools.product(("gpt", "resnet"), (WALL, CPU)):
        seconds = np.log(np.concatenate(of_cell(cell, clock), axis=1))
        stored += [change_points(arm.tolist()) for arm in seconds]
        pairs = itertools.combinations(seconds, 2)
        normalised += [change_points((one - other).tolist()) for one, other in pairs]
    assert sum(map(len, stored)) >= 4, "of 12 series of identical code"
    assert sum(map(len, normalised)) == 0


def test_a_step_is_placed_by_distances_not_by_ranks_alone() -> None:
    """The largest value of the old level, just before the step: ranks count it to the new one while that is short."""
    values = np.random.default_rng(6).uniform(-0.01, 0.01, 18).tolist()
    values[-1] = 0.015
    values += [0.3, 0.31, 0.29, 0.3, 0.32]
    ranks = max(statistics(np.array(values)), key=lambda tested: tested[0])[1]
    assert int(np.argmax(ranks)) + 1 == 17, "control: by ranks alone"
    assert [each.at for each in change_points(values)] == [18]


def test_a_step_up_and_down_again_is_two_changes() -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(0, 0.01, 90)
    values[30:60] += 0.05
    seen = change_points(values.tolist())
    assert [round(each.at, -1) for each in seen] == [30, 60]
    assert all(each.at <= each.seen <= each.at + 12 for each in seen)


def test_before_there_are_enough_values_nothing_is_said() -> None:
    values = [0.0] * (FIRST // 2) + [9.0] * (FIRST - FIRST // 2 - 1)
    assert change_points(values) == []
    assert threshold(FIRST - 1) == math.inf
    assert change_points([]) == []


def test_equal_values_never_alarm() -> None:
    assert change_points([1.0] * 200) == []


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers only"):
        change_points([1.0, math.nan])


# counted values


def test_what_is_counted_changes_with_every_difference() -> None:
    assert jumps([100, 100, 100.5, 102, 102, 90], 0.01) == [ChangePoint(3, 3), ChangePoint(5, 5)]
    assert jumps([], 0.01) == []
    assert jumps([0.0, 0.0, 1.0], 0.01) == [ChangePoint(2, 2)]


# the table


def test_thresholds_are_those_that_the_command_finds() -> None:
    """A smaller simulation than the command's: within what it leaves open."""
    table = dict(THRESHOLDS)
    for count, level in knots(thresholds(sequences=20_000, longest=40)):
        if count in table and count <= 40:
            assert level == pytest.approx(table[count], abs=0.12), count
    assert STEP_AT < COMMITS
