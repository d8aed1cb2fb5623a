"""Scaling: speed-up and efficiency against worked figures, and what is missing is said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.analyse.answer import answers
from harness.analyse.ratios import Ratio
from harness.analyse.scaling import Family, efficiency, families, in_figures, sentence
from harness.analyse.study import study
from harness.analyse.tiles import tiles
from harness.report.look import look_of
from harness.report.scaling_chart import apart, scaling_table
from harness.run.stored import StoredRun
from harness.schema.record import Phase, Record, Status
from tests import synthetic_run as made


def family(run: StoredRun) -> Family:
    (found,) = families(study(run))
    return found


def shares(found: Family, kind: str) -> dict[tuple[str, int], float]:
    (scaling,) = [each for each in found.scalings if each.kind == kind]
    return {(line.label, point.devices): point.share for line in scaling.lines for point in line.points}


def lost(strategy: str, devices: int, *rounds: int) -> object:
    """Trials of that cell crash, in these rounds or in all."""

    def break_(record: Record) -> Record:
        trial = record.trial
        hit = (trial.strategy.name, trial.cell_devices) == (strategy, devices)
        if hit and (not rounds or trial.repeat in rounds):
            return made.failed(record, Status.CRASHED, Phase.WRAP, "no ring")
        return record

    return break_


def test_efficiency_is_the_speed_up_over_the_ideal_one() -> None:
    found = efficiency(Ratio(3.0, 2.8, 3.2, 0.01, (2.9, 3.1)), 4)
    assert (found.value, found.low, found.high) == pytest.approx((0.75, 0.7, 0.8))
    assert found.per_round == pytest.approx((0.725, 0.775))
    assert efficiency(Ratio(1.5, None, None, None, (1.5,)), 8, of=4).value == 0.75, "against four devices, not one"
    assert efficiency(Ratio(1.5, None, None, None, (1.5,)), 2).low is None


def test_the_truth_is_found() -> None:
    found = family(made.scaling_run())
    assert found.label == "gpt/nano"
    assert [(each.kind, each.batch, each.most) for each in found.scalings] == [("strong", 64, 4), ("weak", 16, 4)]
    strong = {("ddp", 2): 0.9, ("ddp", 4): 0.75, ("fsdp", 2): 0.75, ("fsdp", 4): 0.5}
    assert shares(found, "strong") == pytest.approx(strong)
    assert shares(found, "weak") == pytest.approx({cell: share + 0.1 for cell, share in strong.items()})
    assert [line.label for _scaling, line in found.known] == ["ddp", "ddp", "fsdp", "fsdp"], "the most efficient first"


def test_drift_that_a_round_shares_cancels() -> None:
    """The rounds of the made-up run differ by a tenth; compared across rounds the shares would be spread as much."""
    found = family(made.scaling_run(rounds=5))
    spread = [max(point.efficiency.per_round) / min(point.efficiency.per_round)
              for _each, line in found.known for point in line.known if point.efficiency]  # fmt: skip
    assert max(spread) < 1 + 1e-9
    rates = [record.metrics["samples_per_s"] for record in made.scaling_run(rounds=5).records
             if record.trial.strategy.name == "single" and record.trial.batch_per_device]  # fmt: skip
    assert max(rates) / min(rates) > 1.1


def test_cells_of_one_batch_per_device_are_one_group_that_does_not_compare_learning() -> None:
    whole = study(made.scaling_run())
    assert [group.label for group in whole.groups] == ["gpt/nano, global batch 64", "gpt/nano, batch per device 16"]
    strong, weak = whole.groups
    assert (strong.same_batch, weak.same_batch) == (True, False)
    assert strong.held_out is not None
    assert weak.held_out is None
    said = [answer.text for answer in answers(whole)]
    assert ["same loss" in text for text in said] == [True, False]
    (learned,) = [tile for tile in tiles(whole) if tile.title == "Learned"]
    assert [line.group for line in learned.lines] == [strong.label]


def test_sentences_say_what_is_known() -> None:
    texts = [sentence(each).replace("\u00a0", " ") for each in family(made.scaling_run()).scalings]
    assert texts == [
        "Strong scaling at 64 samples a step, 4 devices against single 1 device: ddp 3.00× (75 % [75, 75] of ideal) "
        "and fsdp 2.00× (50 % [50, 50] of ideal).",
        "Weak scaling at 16 samples a device, 4 devices against single 1 device: ddp 3.40× (85 % [85, 85] of ideal) "
        "and fsdp 2.40× (60 % [60, 60] of ideal).",
    ]


def test_one_round_has_an_efficiency_and_no_interval() -> None:
    found = family(made.scaling_run(rounds=1))
    point = found.scalings[0].lines[0].known[-1]
    assert point.share == pytest.approx(0.75)
    assert point.efficiency is not None
    assert point.efficiency.low is None
    assert in_figures(point).replace("\u00a0", " ") == "3.00× (75 % of ideal)"


def test_a_cell_that_failed_is_a_row_without_a_figure() -> None:
    found = family(made.scaling_run(break_=lost("ddp", 4)))  # type: ignore[arg-type]
    (line,) = [line for line in found.scalings[0].lines if line.label == "ddp"]
    assert [point.devices for point in line.points] == [2, 4]
    assert [point.devices for point in line.known] == [2]
    assert line.points[1].why_not == "crashed"
    rows = [row.cells for row in scaling_table([found], look_of(["single", "ddp", "fsdp"]), "t").rows]
    row = next(cells for cells in rows if cells[0].endswith("ddp") and cells[2] == "4")
    assert row[4:] == ("–", "crashed", "–", "–", "–", "0 of 3")
    assert "ddp" not in sentence(found.scalings[0]), "of the most devices it says nothing"


def test_rounds_without_the_baseline_are_left_out() -> None:
    found = family(made.scaling_run(break_=lost("single", 1, 0)))  # type: ignore[arg-type]
    points = [point for _each, line in found.known for point in line.known]
    assert {point.speed_up.rounds for point in points if point.speed_up} == {2}


def test_without_the_baseline_there_is_no_efficiency_and_it_is_said() -> None:
    found = family(made.scaling_run(break_=lost("single", 1)))  # type: ignore[arg-type]
    assert found.known == []
    assert all(each.start is None for each in found.scalings)
    assert sentence(found.scalings[0]).endswith("no efficiency can be given, the baseline has no figure.")
    reasons = {point.why_not for each in found.scalings for line in each.lines for point in line.points}
    assert reasons == {"no baseline in its rounds"}


def test_runs_that_compare_no_numbers_of_devices_have_none() -> None:
    assert families(study(made.synthetic_run(made.Shape(rounds=1, series=False)))) == []
    run = made.scaling_run(rounds=1)
    apart_ = replace(run, info=made.run_info(10, baseline={"strategy": "single"}, compared_keys=["strategy"]))
    assert families(study(apart_)) == [], "devices that are not compared may be other shares of the cores"
    one = replace(run, records=[record for record in run.records if record.trial.cell_devices == 4])
    assert families(study(one)) == []


def test_workloads_are_families_of_their_own() -> None:
    found = families(study(made.scaling_run(rounds=1, workloads=("gpt", "resnet"))))
    assert [(each.label, len(each.scalings)) for each in found] == [("gpt/nano", 2), ("resnet/nano", 2)]


# Labels at the ends of the lines


def test_labels_are_moved_apart_and_stay_in_their_order() -> None:
    assert apart([10, 100, 12], 13, 300) == [10, 100, 23]
    assert apart([298, 299, 300], 13, 300) == [274, 287, 300]
    assert apart([5], 13, 300) == [5]
    assert apart([], 13, 300) == []
    crowded = apart([50.0] * 11, 13, 100)
    assert crowded == pytest.approx([10 * number for number in range(11)]), "too many: as even as can be"


def test_labels_far_from_one_another_stay_where_they_are() -> None:
    wanted = [0.0, 20.0, 40.0, 300.0]
    assert apart(wanted, 13, 300) == wanted
    assert not math.isclose(apart([0.0, 5.0], 13, 300)[1], 5.0), "the check above would not notice a no-op"
