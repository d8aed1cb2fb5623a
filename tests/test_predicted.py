"""Predictions beside measurements: in records, page and terminal; and plans for devices that are not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.analyse.predicted import apart, compared, in_words
from harness.analyse.study import study
from harness.machine.inventory import Inventory
from harness.report import predict_console
from harness.report.page import build_page
from harness.run.imagined import Imagined, imagined_cells, with_devices
from harness.run.predictions import Forecast, predictions
from harness.run.spec import with_overrides
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError
from harness.schema.prediction import KINDS, Prediction
from harness.schema.record import Record
from harness.schema.suite import Suite
from tests import synthetic_run as made
from tests.suite_kinds import ONE, with_predictions
from tests.test_cli import harness
from tests.test_console import plain
from tests.trials import a_record, a_trial

GIB = 2**30
SIZES = dict.fromkeys(KINDS, 100)


def predicted_run(**times: float) -> StoredRun:
    """A run whose predictions are what was measured, or so many times it: activations=0.5."""
    return with_predictions(made.synthetic_run(made.Shape(workloads=ONE, rounds=3)), **times)


# in records


def test_a_prediction_is_asked_once_per_cell_and_put_into_every_record() -> None:
    asked: list[int] = []

    def ask(text: str) -> list[Any]:
        trials = json.loads(text)["trials"]
        asked.append(len(trials))
        return [Prediction(sizes=SIZES, micro_batch=each["micro_batch"]).model_dump() for each in trials]

    forecast = Forecast(ask)
    first, second, other = a_trial(), a_trial(repeat=1), a_trial(strategy="fsdp")
    forecast.look_at([first, second, other])
    found = [forecast.put_into(a_record(trial)) for trial in (first, second, other)]
    assert asked == [2]
    assert all(record.metrics["predicted_peak_bytes"] == 500 for record in found)
    assert Record.model_validate_json(found[0].to_line()).metrics["predicted_activations_bytes"] == 100


def test_a_micro_batch_that_was_found_is_predicted_when_it_is_known() -> None:
    asked: list[int] = []

    def ask(text: str) -> list[Any]:
        trials = json.loads(text)["trials"]
        asked.extend(each["micro_batch"] for each in trials)
        return [Prediction(sizes=SIZES).model_dump() for _ in trials]

    forecast, searched = Forecast(ask), a_trial(among=(1, 2, 4, 8))
    forecast.look_at([searched])
    assert asked == [], "nobody knows it yet"
    assert "micro-batch was not found" in forecast.put_into(a_record(searched)).absent["predicted"]
    forecast.put_into(a_record(searched.with_micro_batch(4, searched=True)))
    assert asked == [4]


def test_a_child_that_fails_costs_the_prediction_alone() -> None:
    def ask(_text: str) -> list[Any]:
        raise HarnessError("a child process could not tell how much memory cells take (exit code 9)")

    assert [each.absent for each in predictions([a_trial()], ask=ask)] == [
        "a child process could not tell how much memory cells take (exit code 9)"
    ]
    record = Forecast(ask).put_into(a_record())
    assert "exit code 9" in record.absent["predicted"]
    assert record.status == "OK"
    assert not any(name.startswith("predicted") for name in record.metrics)


# in the page and the terminal


def test_what_is_as_predicted_is_said_in_one_sentence() -> None:
    (group,) = study(predicted_run()).groups
    assert in_words(group).startswith("As predicted: in all 10\u00a0cells")
    assert not any(apart(cell) for cell in group.cells)


def test_a_kind_that_differs_is_named_with_its_factor() -> None:
    (group,) = study(predicted_run(activations=1 / 1.4)).groups
    assert {each.kind for cell in group.cells for each in apart(cell)} == {"activations"}
    assert re.search(r"activations are 1\.40× what was predicted \([\d.]+.MiB against [\d.]+.MiB\)", in_words(group))
    (group,) = study(predicted_run(gradients=0.0)).groups
    assert "gradients are" in in_words(group)
    assert "where none were predicted" in in_words(group)


def test_a_difference_that_is_nothing_of_the_peak_is_not_worth_a_sentence() -> None:
    (group,) = study(predicted_run(parameters=0.8)).groups
    assert not any(apart(cell) for cell in group.cells), "a fifth of 6 % of the peak"


def test_records_without_predictions_have_a_page_and_a_table_as_before() -> None:
    run = made.synthetic_run(made.Shape(workloads=ONE, rounds=3))
    (group,) = study(run).groups
    assert in_words(group) == ""
    assert all(compared(cell) == [] for cell in group.cells)
    page = build_page(run)
    assert "Triangle" not in page
    assert "r0g0-predicted" not in page
    assert "predicted" not in plain(run)


def test_the_page_marks_each_prediction_and_tells_it_kind_by_kind() -> None:
    run = predicted_run(activations=1 / 1.4, peak=0.8)
    page = build_page(run)
    (group,) = study(run).groups
    known = [cell for cell in group.cells if compared(cell)]
    drawn = re.findall(r"<title>peak ([\d.]+).MiB, predicted ([\d.]+).MiB</title>", page)
    assert len(drawn) == len(known) > 1
    assert any(float(predicted) < float(measured) for measured, predicted in drawn)
    table = re.search(r'<table id="r0g0-predicted".*?</table>', page, re.S)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table[0], re.S)
    assert len(rows) == 1 + len(known)
    assert all(re.search(r">[\d.]+ / [\d.]+ \(1\.40×\)<", row) for row in rows[1:]), "activations differ"
    assert [head for head in ("peak", "activations", "other") if f">{head}<" in rows[0]] == [
        "peak",
        "activations",
        "other",
    ]


def triangles(page: str) -> int:
    """Small paths of three corners below the bars of the memory chart."""
    chart = re.search(r'<figure[^>]*id="r0g0-kinds".*?</figure>', page, re.S)
    assert chart is not None
    return len(re.findall(r'd="m[\d.-]+ [\d.-]+-[\d.]+ [\d.]+ [\d.]+ 0z"', chart[0]))


def test_each_predicted_cell_has_a_triangle_and_no_other() -> None:
    run = predicted_run()
    (group,) = study(run).groups
    assert triangles(build_page(run)) == sum(bool(compared(cell)) for cell in group.cells)
    assert triangles(build_page(made.synthetic_run(made.Shape(workloads=ONE, rounds=3)))) == 0


@pytest.mark.parametrize(("width", "there"), [(60, False), (100, False), (160, True)])
def test_the_ranking_has_the_prediction_where_there_is_room(width: int, there: bool) -> None:
    text = plain(predicted_run(), width)
    head = next(line for line in text.splitlines() if "× baseline" in line and "cell" in line)
    assert ("predicted" in head) is there
    assert len(head) <= width


# for devices that are not there


def suite(**fixed: Any) -> Suite:
    return Suite.model_validate(
        {
            "question": "q",
            "fixed": {
                "workload": "gpt",
                "size": "nano",
                "device": "cpu",
                "global_batch": 16,
                "micro_batch": 8,
                **fixed,
            },
            "grid": {"strategy": ["single", "ddp", "fsdp_tp"]},
        }
    )


def test_a_suite_is_planned_for_devices_that_are_not_there() -> None:
    there = Inventory(cores=[0, 1])
    asked = with_overrides(suite(), devices=8, refuse=False)
    cells = {each.trial.strategy.name: each for each in imagined_cells(asked, there, 8)}
    assert (cells["ddp"].trial.processes, cells["ddp"].trial.global_batch) == (8, 64)
    assert cells["ddp"].rebatched, "16 samples do not make 8 micro-batches of 8"
    assert not cells["single"].rebatched
    fewer = {each.trial.strategy.name: each for each in imagined_cells(suite(devices=2), there, None)}
    assert "needs at least 4 devices" in (fewer["fsdp_tp"].reason or "")


def test_accelerators_are_imagined_as_more_of_the_same() -> None:
    one = Inventory(accelerator="cuda", accelerator_names=["H"], accelerator_memory_bytes=[7], cores=[0])
    assert with_devices(one, "cuda", 3).accelerator_names == ["H"] * 3
    assert with_devices(one, "cuda", 1) == one
    assert with_devices(Inventory(cores=[4, 5]), "cpu", 3).cores == [0, 1, 2]


def test_the_table_says_what_fits_and_why_something_has_no_figure() -> None:
    cells = [Imagined(a_trial()), Imagined(a_trial(strategy="fsdp"), rebatched=True), Imagined(a_trial(strategy="dp"))]
    big = Prediction(sizes=SIZES | {"activations": 3 * GIB}, micro_batch=8)
    tight = Prediction(sizes=SIZES | {"activations": 2 * GIB - 1000}, micro_batch=8)
    found = list(zip(cells, [big, tight, Prediction(absent="no rule")], strict=True))
    for width in (60, 100, 160):
        console = Console(width=width)
        with console.capture() as text:
            console.print(predict_console.shown(found, 2 * GIB))
        said = text.get().replace("\u00a0", " ")
        assert max(map(len, said.splitlines())) <= width
        assert re.search(r"no, 150 %", said)
        assert re.search(r"tight, 100 %", said)
        assert "no rule" in said
        assert ("activations" in said) is (width > 60)
    rows = predict_console.rows(found, 2 * GIB)
    assert [row.get("fits") for row in rows] == [False, True, None]
    assert rows[2]["reason"] == "no rule"


@pytest.mark.processes
def test_the_command_predicts_for_as_many_devices_as_are_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(
        'question = "q"\n[fixed]\nworkload = "gpt"\nsize = "nano"\nmicro_batch = 8\n'
        '[grid]\nstrategy = ["ddp", "fsdp", "dp_threads"]\n'
    )
    done = harness("predict", str(file), "--devices", "64", "--memory", "4MiB", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["cell"].split()[1]: row for row in json.loads(done.stdout)}
    assert [rows[name]["devices"] for name in ("ddp", "fsdp")] == [64, 64]
    assert rows["fsdp"]["bytes"]["optimizer"] < rows["ddp"]["bytes"]["optimizer"] / 30
    assert not rows["ddp"]["fits"]
    assert "states no rule" in rows["dp_threads"]["reason"]
    assert not list(tmp_path.glob("results*")), "nothing is written"


def test_a_size_that_is_none_is_refused_before_anything_else(tmp_path: Path) -> None:
    done = harness("predict", str(tmp_path / "there is none.toml"), "--memory", "lots")
    assert done.returncode == 2
    assert "--memory: found 'lots', expected a size above 0 with its unit" in done.stderr
    assert "Traceback" not in done.stderr
    done = harness("predict", str(tmp_path / "there is none.toml"))
    assert done.returncode == 2
    assert "a suite file that can be read" in done.stderr
