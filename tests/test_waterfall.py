"""From the baseline's step to a cell's: the differences of the parts, and nothing is lost between them."""

from __future__ import annotations

import pytest

from harness.analyse.study import study
from harness.analyse.waterfall import waterfall
from harness.report.waterfall_chart import described, in_words, signed, waterfalls
from tests import synthetic_run as made

BASELINE = {"step_s": 0.100, "data_wait_s": 0.002, "forward_s": 0.030, "backward_s": 0.055, "optimizer_s": 0.010}
CELL = {"step_s": 0.080, "data_wait_s": 0.003, "forward_s": 0.020, "backward_s": 0.050, "optimizer_s": 0.005}


def test_the_changes_are_those_worked_out_by_hand() -> None:
    found = waterfall(BASELINE, CELL)
    assert found is not None
    assert (found.start, found.end) == (0.100, 0.080)
    changes = {change.part: change.difference for change in found.changes}
    assert changes == pytest.approx(
        {"data_wait_s": 0.001, "forward_s": -0.010, "backward_s": -0.005, "optimizer_s": -0.005, "rest": -0.001}
    )
    levels = [found.start, *(change.after for change in found.changes)]
    assert levels == pytest.approx([0.100, 0.101, 0.091, 0.086, 0.081, 0.080])
    assert [change.before for change in found.changes] == levels[:-1], "each stair begins where the last ended"
    assert sum(changes.values()) == pytest.approx(found.difference)


def test_what_no_part_accounts_for_is_the_rest() -> None:
    """Without `rest` the stairs would end beside the cell's step."""
    slow = waterfall(BASELINE, CELL | {"step_s": 0.120})
    assert slow is not None
    assert slow.changes[-1].difference == pytest.approx(0.039)
    assert slow.changes[-1].after == 0.120


@pytest.mark.parametrize("missing", ["step_s", "backward_s", "data_wait_s"])
def test_an_unknown_part_is_no_zero(missing: str) -> None:
    less = {name: value for name, value in CELL.items() if name != missing}
    assert waterfall(BASELINE, less) is None
    assert waterfall(less, BASELINE) is None


def test_every_cell_with_figures_has_stairs_but_the_baseline() -> None:
    group = study(made.broken_run(workloads=("gpt",))).groups[0]
    found = waterfalls(group)
    assert {group.named(cell).label for cell in found} == {cell.label for cell in group.ranking if not cell.is_baseline}
    for cell, each in found.items():
        assert each.end == group.named(cell).metrics["step_s"]
    assert described(group)[0].startswith("ddp fp32 "), "the fastest first"
    assert "backward −" in described(group)[0]


def test_without_a_baseline_there_is_nothing_to_start_from() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), truth={"ddp": 1.5, "fsdp": 1.2}))
    assert waterfalls(study(run).groups[0]) == {}
    assert waterfalls(study(made.only_failures()).groups[0]) == {}


def test_differences_in_words() -> None:
    assert [signed(value).replace("\u00a0", " ") for value in (0.0012, -0.00085, 0.0)] == ["+1.20 ms", "−850 µs", "±0"]
    found = waterfall(BASELINE, CELL)
    assert found is not None
    assert in_words(found).replace("\u00a0", " ") == "80.0 ms (−20.0 ms)"
