"""Recorded curves are judged right: a small change is found by few seeds, rounding is not; and each control fails."""

from __future__ import annotations

import pytest

from benchmarks.calibrate_convergence import (
    AGAIN,
    BASE,
    DATA,
    FLAGGED,
    FOUND_BY,
    ROUNDED,
    SEEDS,
    SEEDS_AGAIN,
    SLOWER,
    TASKS,
    recorded,
    share,
    verdicts,
)
from harness.analyse.criteria import LOSS_AREA
from harness.schema.measured import Measured

ROUNDING = [task.cell for task in TASKS if ROUNDED in task.arms]


@pytest.fixture(scope="module")
def curves() -> dict[str, list[Measured]]:
    return recorded()


def test_recorded_curves(curves: dict[str, list[Measured]]) -> None:
    assert DATA.stat().st_size <= 200_000
    for task in TASKS:
        counts = {arm: sum(each.cell == task.cell for each in curves[arm]) for arm in task.arms}
        assert counts == {arm: SEEDS_AGAIN if arm == AGAIN else SEEDS for arm in task.arms}
    assert BASE in curves


@pytest.mark.parametrize(("cell", "seeds"), FOUND_BY.items())
def test_few_paired_seeds_find_a_rate_that_is_a_twentieth_lower(
    cell: str, seeds: int, curves: dict[str, list[Measured]]
) -> None:
    assert share(curves, cell, SLOWER, 40, FLAGGED, seeds=seeds) >= 0.95
    assert share(curves, cell, SLOWER, 40, FLAGGED, pairs=False, seeds=seeds) <= 0.4, "control: other seeds would not"


@pytest.mark.parametrize("cell", ROUNDING)
def test_what_differs_in_rounding_alone_is_not_flagged(cell: str, curves: dict[str, list[Measured]]) -> None:
    assert share(curves, cell, ROUNDED, 40, FLAGGED, of_any=True) <= 0.05
    assert share(curves, cell, AGAIN, 10, ("same",)) == 1.0


def test_how_closely_seeds_go_together_is_told(curves: dict[str, list[Measured]]) -> None:
    (close,) = verdicts(curves, "gpt/nano", SLOWER, 1)
    (reason,) = [each.reason for each in close if each.metric == LOSS_AREA]
    assert "seeds of A and B correlate at " in reason
    apart = [each.reason for found in verdicts(curves, "gpt/nano", SLOWER, 10, pairs=False) for each in found]
    assert any("pairing helps little" in text for text in apart)
