"""Trace trials: planned last, never timed, their files kept, their figures beside the cell's."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analyse.caveats import caveats
from harness.analyse.study import study
from harness.analyse.traces import traces_of
from harness.machine.inventory import Inventory
from harness.measure.operators import OPERATORS_KEPT
from harness.report.page import build_page
from harness.report.progress import describe
from harness.run.conduct import Conductor, Event, without_execution
from harness.run.executors import local
from harness.run.executors.local import Execution
from harness.run.merge import merge
from harness.run.plan import Plan, make_plan, parity_key
from harness.run.store import RunFolder
from harness.run.stored import StoredRun, read_run
from harness.schema.record import Phase, RankResult, Record, Status
from harness.schema.suite import Suite
from harness.schema.trial import Trial
from tests.conftest import make_trial
from tests.synthetic_run import Shape, synthetic_run, trial_of
from tests.trials import a_record, a_run_info, a_trial

SUITE: dict[str, Any] = {
    "question": "q",
    "fixed": {"workload": "gpt", "size": "nano", "devices": 2},
    "grid": {"strategy": ["single", "ddp", "dp"]},
}


def plan_of(**budget: Any) -> Plan:
    return make_plan(Suite.model_validate({**SUITE, "budget": budget}), Inventory(cores=[0, 1]))


# Planned


def test_one_trace_of_each_cell_that_can_run_after_all_that_is_timed() -> None:
    plan = plan_of(repeats=2, seeds=[3, 4], trace=True)
    kinds = [trial.kind for trial in plan.trials]
    assert kinds == ["measure"] * 8 + ["trace"] * 2
    traces = plan.trials[8:]
    assert {trial.strategy.name for trial in traces} == {"single", "ddp"}
    assert {(trial.repeat, trial.seed) for trial in traces} == {(0, 3)}
    assert not any(trial.kind == "trace" for trial in plan_of(repeats=2).trials)


def test_a_trace_is_of_the_measured_cell_and_a_trial_of_its_own() -> None:
    plan = plan_of(repeats=1, trace=True)
    cells = {trial.cell for trial in plan.trials if trial.kind == "measure"}
    traces = [trial for trial in plan.trials if trial.kind == "trace"]
    assert {trial.measured_cell for trial in traces} == cells
    assert not {trial.cell for trial in traces} & cells
    assert len({trial.id for trial in plan.trials}) == 4
    assert traces[0].label.endswith(" trace")
    assert len({parity_key(trial) for trial in plan.trials}) == 1, "it is held against the same reference"


# Executed


def traced(strategy: Any, ranks: int, folder: Path, **changes: Any) -> tuple[Record, Execution]:
    trial = make_trial(strategy, ranks, kind="trace", **changes)
    done = local.execute(trial, sorted(os.sched_getaffinity(0)), folder)
    record, _series = merge(trial, done.ranks, None, started_at=done.started_at, ended_at=done.ended_at)
    return record, done


@pytest.mark.processes
def test_a_trace_of_two_ranks_holds_three_steps_and_what_they_communicate(tmp_path: Path) -> None:
    record, done = traced("ddp", 2, tmp_path)
    assert record.status is Status.OK, record.reason
    assert 0 < record.metrics["comm_exposed_s"] <= record.metrics["comm_s"]
    assert "step_s" not in record.metrics, "nothing is timed"
    assert not record.evaluations
    assert list(done.artifacts) == ["trace of rank 0", "trace of rank 1"]
    for rank, path in enumerate(done.artifacts.values()):
        name = r"[A-Za-z0-9-]+_" + str(rank) + r"\.\d{19}\.pt\.trace\.json\.gz"
        assert re.fullmatch(f"traces/tiny-only_ddp_fp32-{record.trial.id}/{name}", path)
        with gzip.open(tmp_path / path, "rt") as file:
            names = Counter(each["name"] for each in json.load(file)["traceEvents"])
        assert names["gloo:all_reduce"] == 3, "one bucket in each of three steps"
        assert [name for name in names if name.startswith("ProfilerStep#")] == [f"ProfilerStep#{n}" for n in (1, 2, 3)]
    for rank_result in record.per_rank:
        said = rank_result.facts["trace"]
        most = said["operators"]
        assert 1 < len(most) <= OPERATORS_KEPT
        assert [each["self_s"] for each in most] == sorted((each["self_s"] for each in most), reverse=True)
        assert sum(each["self_s"] for each in most) <= said["self_s"]
        assert not [each for each in most if each["name"].startswith("ProfilerStep")]


@pytest.mark.processes
def test_one_process_communicates_nothing_and_an_unseen_engine_says_so(tmp_path: Path) -> None:
    record, done = traced("single", 1, tmp_path)
    assert (record.metrics["comm_s"], record.metrics["comm_exposed_s"]) == (0, 0)
    threads = {"processes": 1, "shares": 2, "devices": 2, "device_slots": 2, "accumulation": 2}
    record, done = traced("dp_threads", 1, tmp_path, **threads)
    assert record.status is Status.OK, record.reason
    assert "comm_s" not in record.metrics
    assert record.per_rank[0].facts["absent"]["trace"]
    assert len(done.artifacts) == 1


@pytest.mark.processes
def test_a_trace_that_fails_is_a_record_like_any_other(tmp_path: Path) -> None:
    record, done = traced({"name": "ends_badly", "how": "raise"}, 1, tmp_path)
    assert record.status is Status.CRASHED
    assert "planted" in str(record.reason)
    assert done.artifacts == {}


# Conducted


def conducted(tmp_path: Path, plan: Plan, *well: str) -> tuple[list[Record], list[Trial]]:
    """Records of a plan of which only these strategies end well, and the trials that were executed."""
    executed: list[Trial] = []

    def execute(trial: Trial) -> Execution:
        executed.append(trial)
        failed = trial.kind != "reference" and trial.strategy.name not in well
        series: dict[str, list[float | None]] = {"step": [1.0], "loss": [1.0]}
        metrics = {} if trial.kind != "measure" else {"step_s": 1.0, "window_s": 1.0, "window_samples": 8.0}
        ranks = [
            RankResult(rank=rank, phase=Phase.DONE, exit_code=int(failed), series=series, metrics=metrics)
            for rank in range(trial.processes)
        ]
        return Execution(ranks, "exit", 0.0, 1.0, artifacts={"trace of rank 0": "x"} if trial.kind == "trace" else {})

    folder = RunFolder.create(tmp_path, a_run_info())
    assert Conductor(Inventory(cores=[0, 1]), folder, execute, lambda _event: None).conduct(plan)
    return read_run(folder.folder).records, executed


def test_artifacts_stand_in_the_record(tmp_path: Path) -> None:
    records, _executed = conducted(tmp_path, plan_of(repeats=1, trace=True), "single", "ddp")
    assert {record.trial.kind: record.artifacts for record in records if record.status is Status.OK} == {
        "measure": {},
        "trace": {"trace of rank 0": "x"},
    }


def test_a_cell_that_never_ended_well_is_not_traced(tmp_path: Path) -> None:
    plan = plan_of(repeats=2, trace=True)
    _records, executed = conducted(tmp_path, plan, "single")
    assert [trial.strategy.name for trial in executed if trial.kind == "trace"] == ["single"]
    alone = Plan(trials=[trial for trial in plan.trials if trial.kind == "trace"])
    _records, executed = conducted(tmp_path, alone, "single")
    assert len(executed) == 2, "what is asked for alone is run, without a reference: nothing is compared"


# Shown


def with_trace(run: StoredRun, strategy: str = "ddp", **changes: Any) -> StoredRun:
    trial = trial_of(Shape(), "gpt", strategy, "fp32", 0, kind="trace")
    known = {"metrics": {"comm_s": 0.004, "comm_exposed_s": 0.0015}, "artifacts": {"trace of rank 0": "traces/x"}}
    record = a_record(trial, **{**known, **changes})
    asked = run.info.model_copy(update={"suite": {"budget": {"trace": True}}})
    return replace(run, info=asked, records=[*run.records, record])


def test_figures_of_a_trace_stand_beside_the_cells_own_and_change_no_ranking() -> None:
    plain = study(synthetic_run())
    found = study(with_trace(synthetic_run()))
    assert len(found.trials) == len(plain.trials)
    assert found.ratios.equals(plain.ratios)
    for before, after in zip(plain.groups, found.groups, strict=True):
        for old, new in zip(before.cells, after.cells, strict=True):
            added = {name: new.metrics[name] for name in new.metrics.keys() - old.metrics.keys()}
            here = (after.label, new.strategy, new.precision) == ("gpt/nano", "ddp", "fp32")
            assert added == ({"comm_s": 0.004, "comm_exposed_s": 0.0015} if here else {})


def test_the_page_shows_measures_only_where_there_are_some() -> None:
    measures = {"mfu_measured": 0.123, "communicated_bytes": 3.0 * 2**20}

    def known(record: Record) -> Record:
        return record.model_copy(update={"metrics": record.metrics | measures})

    page = build_page(with_trace(synthetic_run(Shape(break_=known))))
    for title in ("MFU<small> % measured<", "payload<small> MiB/step<", "exposed<small> ms/step<"):
        assert title in page
    assert "<td>12.3<td>3.00<td>1.50<" in page
    assert "% datasheet" not in page
    assert "1\u00a0cell, in the run folder under traces/" in page
    assert "% measured" not in build_page(synthetic_run())


def test_missing_traces_are_said() -> None:
    said = [text for text in caveats(study(with_trace(synthetic_run()))) if "no trace" in text]
    assert len(said) == 1
    assert "not reached" in said[0]
    one = synthetic_run(Shape(workloads=("gpt",), truth={"ddp": 1.0}, precisions={"fp32": 1.0}))
    assert not [text for text in caveats(study(with_trace(one))) if "no trace" in text]
    failed = with_trace(one, status=Status.CRASHED, reason="no profiler", metrics={})
    assert [text for text in caveats(study(failed)) if "CRASHED no profiler" in text]
    assert not [text for text in caveats(study(synthetic_run())) if "no trace" in text]


def test_a_cell_without_figures_of_its_own_gets_none_from_a_trace() -> None:
    crashed = synthetic_run(Shape(break_=lambda record: record.model_copy(update={"status": Status.CRASHED})))
    found = study(with_trace(crashed))
    assert traces_of(found.run)
    assert not [cell for group in found.groups for cell in group.cells if "comm_s" in cell.metrics]


def test_progress_says_what_a_trace_found() -> None:
    trace = a_record(a_trial(kind="trace"), metrics={"comm_exposed_s": 0.0015})
    said = describe(Event("finished", trace.trial, 1, 1, trace))
    assert "trace" in said
    assert "1.50 ms of exposed communication" in said
    nothing = a_record(a_trial(kind="trace"), metrics={})
    assert describe(Event("finished", nothing.trial, 1, 1, nothing)).endswith("seed 0")
    stopped = without_execution(a_trial(kind="trace"), Status.INTERRUPTED, "stopped", "")
    assert "stopped" in describe(Event("finished", stopped.trial, 1, 1, stopped))
