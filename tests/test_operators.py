"""Operators of traces: whose time is whose, and what the page and the terminal say of them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from torch.autograd import DeviceType

from harness.analyse.operators import baseline_of, traced_cells
from harness.analyse.study import study
from harness.measure.operators import OPERATORS_KEPT, operators
from harness.report.look import look_of
from harness.report.operators_table import CELLS_AT_MOST, SHOWN, operators_section
from harness.report.page import build_page
from harness.report.traced_listing import traced
from harness.run.stored import StoredRun
from harness.schema.record import RankResult, Record, Status
from tests.synthetic_run import Shape, synthetic_run, trial_of
from tests.trials import a_rank, a_record


def averaged(key: str, cpu_us: float, device_us: float = 0.0, on: DeviceType = DeviceType.CPU, count: int = 3) -> Any:
    return SimpleNamespace(
        key=key, count=count, device_type=on, self_cpu_time_total=cpu_us, self_device_time_total=device_us
    )


def test_self_time_per_step_most_first_without_the_steps_themselves() -> None:
    found = operators([averaged("aten::add", 300), averaged("ProfilerStep#1", 9e6), averaged("aten::mm", 600)], 3)
    assert found["clock"] == "cpu"
    assert found["self_s"] == pytest.approx(300e-6)
    assert found["operators"] == [
        {"name": "aten::mm", "calls": 1.0, "self_s": pytest.approx(200e-6)},
        {"name": "aten::add", "calls": 1.0, "self_s": pytest.approx(100e-6)},
    ]
    many = operators([averaged(f"aten::op{number}", number) for number in range(40)], 1)
    assert len(many["operators"]) == OPERATORS_KEPT
    assert many["operators"][0]["name"] == "aten::op39"


def test_on_a_device_its_time_counts_and_kernels_not_a_second_time() -> None:
    found = operators(
        [
            averaged("aten::mm", 9000, 600),
            averaged("sm90_gemm", 0, 600, DeviceType.CUDA),
            averaged("aten::item", 5000),
        ],
        3,
    )
    assert found["clock"] == "device"
    assert found["self_s"] == pytest.approx(200e-6)
    assert [each["name"] for each in found["operators"]] == ["aten::mm"]


# Shown

BASE = {"aten::mm": 0.004, "aten::add": 0.001}
DDP = {"gloo:all_reduce": 0.003, "aten::mm": 0.002, "aten::add": 0.0011}


def ranks_with(times: dict[str, float], **changes: Any) -> list[RankResult]:
    found = [{"name": name, "calls": 2.0, "self_s": self_s} for name, self_s in times.items()]
    facts = {"steps": 3, "events": 9, "clock": "cpu", "self_s": 0.01, "operators": found}
    return [a_rank(facts={"trace": {**facts, **changes}})]


def with_traces(run: StoredRun, traces: dict[str, list[RankResult]], **changes: Any) -> StoredRun:
    records = []
    for strategy, ranks in traces.items():
        trial = trial_of(Shape(), "gpt", strategy, "fp32", 0, kind="trace")
        known = {"per_rank": ranks, "artifacts": {"trace of rank 0": f"traces/{strategy}-x/h_0.1.pt.trace.json.gz"}}
        records.append(a_record(trial, **{**known, **changes}))
    return replace(run, records=[*run.records, *records])


SMALL = Shape(workloads=("gpt",), truth={"single": 1.0, "ddp": 1.6}, precisions={"fp32": 1.0}, rounds=2)


def two() -> StoredRun:
    return with_traces(synthetic_run(SMALL), {"single": ranks_with(BASE), "ddp": ranks_with(DDP)})


def test_cells_are_named_and_grouped_as_those_that_are_measured() -> None:
    base, ddp = traced_cells(two())
    assert (base.group, base.label, base.is_baseline) == ("gpt/nano", "single fp32", True)
    assert (ddp.label, ddp.folder) == ("ddp fp32", "traces/ddp-x")
    assert baseline_of(ddp, [base, ddp]) is base
    assert baseline_of(base, [base, ddp]) is None
    assert (ddp.took("gloo:all_reduce"), ddp.took("aten::gone")) == (0.003, None)


def test_the_section_says_what_takes_time_and_what_the_baseline_took() -> None:
    found = study(two())
    section = operators_section(found, look_of(found.trials["strategy"]), "o")
    assert section is not None
    assert [row.cells for row in section.table.rows] == [
        ("single fp32", "gpt/nano", "10.0", "aten::mm", "4.00", "40.0", "–", "–"),
        ("ddp fp32", "gpt/nano", "10.0", "gloo:all_reduce", "3.00", "30.0", "gloo:all_reduce", "+3.00"),
    ]
    each, files = section.more
    rows = [row.cells[2:] for row in each.rows]
    assert rows[0] == ("aten::mm", "2", "4.00", "40.0", "–", "CPU")
    assert ("aten::mm", "2", "2.00", "20.0", "4.00", "CPU") in rows
    assert ("gloo:all_reduce", "2", "3.00", "30.0", "–", "CPU") in rows
    assert files.rows[1].cells == ("ddp fp32", "gpt/nano", "1", "traces/ddp-x")
    page = build_page(two())
    assert "Which operators take a step" in page
    assert "gloo:all_reduce" in page
    assert "Which operators take a step" not in build_page(synthetic_run(SMALL))


def test_many_cells_and_operators_are_cut_and_names_are_text() -> None:
    times = {f"aten::<b>{number}</b>": 0.001 for number in range(9)}
    run = synthetic_run(SMALL)
    found = study(with_traces(run, {f"ddp(x={number})": ranks_with(times) for number in range(40)}))
    section = operators_section(found, look_of(found.trials["strategy"]), "o")
    assert section is not None
    assert len(section.table.rows) == CELLS_AT_MOST
    assert len(section.more[0].rows) == CELLS_AT_MOST * SHOWN
    assert section.table.caption.endswith(" of 40")
    assert "aten::<b>" not in build_page(found.run)


@pytest.mark.parametrize("damaged", [None, "x", {}, {"operators": "x"}, {"operators": [1, {"calls": 2}]}])
def test_traces_without_operators_have_no_section(damaged: Any) -> None:
    found = study(with_traces(synthetic_run(SMALL), {"ddp": [a_rank(facts={"trace": damaged})]}))
    assert operators_section(found, look_of(found.trials["strategy"]), "o") is None


def test_a_run_of_traces_alone_has_a_page_and_rows() -> None:
    run = two()
    alone = replace(run, records=[record for record in run.records if record.trial.kind == "trace"])
    page = build_page(alone)
    assert "Which operators take a step" in page
    assert [row["most time"] for row in traced(alone)] == ["aten::mm", "gloo:all_reduce"]
    failed = replace(alone, records=[_crashed(record) for record in alone.records])
    assert [(row["status"], row["reason"]) for row in traced(failed)] == [("CRASHED", "why")] * 2


def _crashed(record: Record) -> Record:
    return record.model_copy(update={"status": Status.CRASHED, "reason": "why"})
