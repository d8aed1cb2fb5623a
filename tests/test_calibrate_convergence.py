"""Recorded curves are judged right: a small change is found by three seeds, rounding is not; and each control fails."""

from __future__ import annotations

import pytest

from benchmarks.calibrate_convergence import AGAIN, BASE, DATA, ROUNDED, SEEDS, SEEDS_AGAIN, SLOWER, recorded, share
from harness.schema.measured import Measured

FOUND = ("regressed", "improved")
CELLS = ("gpt/nano", "mnist1d/mlp")


@pytest.fixture(scope="module")
def curves() -> dict[str, list[Measured]]:
    return recorded()


def test_recorded_curves(curves: dict[str, list[Measured]]) -> None:
    assert DATA.stat().st_size <= 200_000
    for cell in CELLS:
        counts = {arm: sum(each.cell == cell for each in own) for arm, own in curves.items()}
        assert counts == {BASE: SEEDS, AGAIN: SEEDS_AGAIN, SLOWER: SEEDS, ROUNDED: SEEDS}


@pytest.mark.parametrize("cell", CELLS)
def test_three_paired_seeds_find_a_rate_that_is_a_twentieth_lower(cell: str, curves: dict[str, list[Measured]]) -> None:
    assert share(curves, cell, SLOWER, 40, FOUND) >= 0.95
    assert share(curves, cell, SLOWER, 40, FOUND, pairs=False) <= 0.3, "control: of other seeds they would not"


@pytest.mark.parametrize("cell", CELLS)
def test_what_differs_in_rounding_alone_is_not_flagged(cell: str, curves: dict[str, list[Measured]]) -> None:
    assert share(curves, cell, ROUNDED, 40, FOUND, of_any=True) <= 0.05
    assert share(curves, cell, AGAIN, 10, ("same",)) == 1.0
