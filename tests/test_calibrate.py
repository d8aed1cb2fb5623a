"""The recorded A/A rounds are judged right, and each figure moves where the statistics are spoilt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibrate import CLOCKS, DATA, Block, called_same, coverage, false_verdicts, recorded
from benchmarks.calibrate_live import Try, _slowed
from harness.run.ab.adjacent import seconds_by_ratio


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return recorded()


def test_recorded_rounds(blocks: list[Block]) -> None:
    assert DATA.stat().st_size <= 300_000
    assert {each.seconds.shape for each in blocks} == {(len(CLOCKS), 3, 16)}
    assert len({each.session for each in blocks}) == 5


def test_identical_code_is_not_flagged_and_what_is_slower_is(blocks: list[Block]) -> None:
    assert false_verdicts(blocks, 40, control=False) <= 0.025
    assert false_verdicts(blocks, 10, slower=1.05) == 1.0, "control: 5 % more is found in every matrix"


def test_a_session_that_favours_one_arm_would_show(blocks: list[Block]) -> None:
    """Control: what a server's memory does to all rounds of an arm, as with two arms of one server."""
    tilted = [replace(each, seconds=each.seconds * np.array([1.0, 1.04, 1.0])[None, :, None]) for each in blocks]
    assert false_verdicts(tilted, 10, control=False) > 0.5
    assert false_verdicts(tilted, 10) == 0.0, "which is what the null control is for"


def test_a_true_3_percent_is_not_the_same(blocks: list[Block]) -> None:
    assert called_same(blocks, 10) <= 0.05


def test_intervals_cover(blocks: list[Block]) -> None:
    assert 0.92 <= coverage(blocks, 1, 10, 500) <= 0.985


def test_seconds_by_ratio_shows_an_effect_whole_and_leaves_a_slow_moment_out() -> None:
    draw = np.random.default_rng(5)
    blocks = []
    for number in range(10):
        moment = 5.0 if number == 3 else float(np.exp(draw.normal(0, 0.3)))
        steps = {arm: moment * np.exp(draw.normal(0, 0.02, size=4)) for arm in ("a", "b", "null")}
        blocks.append({arm: list(own * (1.03 if arm == "b" else 1.0)) for arm, own in steps.items()})
    found = seconds_by_ratio(blocks, "a")
    assert found["b"] / found["a"] == pytest.approx(1.03, abs=0.02)
    assert found["null"] / found["a"] == pytest.approx(1.0, abs=0.02)
    plain = {arm: float(np.median([s for block in blocks for s in block[arm]])) for arm in ("a", "b")}
    assert found["a"] == pytest.approx(plain["a"])


def test_a_slow_down_that_is_found_too_late_is_not_found() -> None:
    quick = Try("regressed", 1.05, 200.0, load=1.0)
    late, missed = replace(quick, seconds=250.0), replace(quick, verdict="undecided", effect=1.01)
    assert _slowed("streams", [quick] * 20).met
    assert _slowed("streams", [quick] * 19 + [late]).met, "19 of 20 are 95 %"
    for told in ([quick] * 18 + [late] * 2, [quick] * 18 + [missed] * 2):
        assert not _slowed("streams", told).met
