"""`micro_batch = "max"` and `memory_limit` as they are asked for, planned, listed and shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.analyse.frame import trials_frame
from harness.analyse.study import study
from harness.machine import data_size
from harness.machine.device import Accelerator, Device
from harness.machine.inventory import Inventory
from harness.report.fit_table import fit_table, tries_text
from harness.report.listing import planned
from harness.report.look import look_of
from harness.report.page import build_page
from harness.run.plan import Plan, estimate_s, make_plan
from harness.run.stored import StoredRun
from harness.run.where import parse_where
from harness.schema.memory_size import memory_bytes, memory_text
from harness.schema.record import Status, Try
from harness.schema.suite import Suite
from tests import synthetic_run as made
from tests.toys import toys

__all__ = ["toys"]

CPU = Inventory(cores=[0, 1, 2, 3])
MIB = 2**20


def plan_of(where: tuple[str, ...] = (), **tables: Any) -> Plan:
    fixed = {"workload": "toy", **tables.pop("fixed", {})}
    suite = Suite.model_validate({"question": "q", "fixed": fixed, "budget": {"repeats": 1}, **tables})
    return make_plan(suite, CPU, where=parse_where(list(where)))


# asked and planned


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("strategy", "global_batch", "among"),
    [("single", 12, (1, 2, 3, 4, 6, 12)), ("ddp", 12, (1, 2, 3, 6)), ("ddp", 14, (1, 7)), ("grid4", 8, (1, 2))],
)
def test_candidates_divide_what_a_device_takes(strategy: str, global_batch: int, among: tuple[int, ...]) -> None:
    devices = 4 if strategy == "grid4" else 2
    fixed = {"strategy": strategy, "global_batch": global_batch, "micro_batch": "max", "devices": devices}
    (trial,) = plan_of(fixed=fixed).trials
    assert (trial.among, trial.searched) == (among, False)
    for size in among:
        found = trial.with_micro_batch(size)
        assert found.micro_batch * found.accumulation * trial.devices == global_batch


@pytest.mark.usefixtures("toys")
def test_devices_that_do_not_divide_the_batch_cannot_run_at_any_micro_batch() -> None:
    plan = plan_of(fixed={"strategy": "ddp", "global_batch": 16, "micro_batch": "max", "devices": 3})
    assert not plan.trials
    assert plan.unsupported[0][1] == "micro_batch max × 3 devices does not divide global_batch 16"


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("table", ["fixed", "grid", "case", "include"])
def test_max_can_stand_wherever_a_micro_batch_can(table: str) -> None:
    value: Any = {"micro_batch": "max"}
    content = {"fixed": value, "grid": {"micro_batch": ["max"]}, "case": [value], "include": [value]}[table]
    (trial,) = plan_of(**{table: content}).trials
    assert trial.label.endswith("micro_batch max")
    (row,) = planned(plan_of(**{table: content}))
    assert row["micro_batch"] == "max (searched when run)"
    assert row["accum."] is None


@pytest.mark.usefixtures("toys")
def test_equal_and_max_are_cells_of_their_own_and_a_filter_tells_them_apart() -> None:
    grid = {"micro_batch": [8, "max"], "strategy": ["single", "ddp"]}
    assert len({trial.cell for trial in plan_of(grid=grid).trials}) == 4
    kept = plan_of(where=("micro_batch=max",), grid=grid).trials
    assert [bool(trial.among) for trial in kept] == [True, True]
    assert [trial.among for trial in plan_of(where=("micro_batch=8",), grid=grid).trials] == [(), ()]


@pytest.mark.usefixtures("toys")
def test_estimate_counts_the_tries() -> None:
    known, searched = plan_of(), plan_of(fixed={"micro_batch": "max"})
    assert estimate_s(searched, {})[0] > estimate_s(known, {})[0]


@pytest.mark.usefixtures("toys")
def test_limit_is_of_every_trial() -> None:
    plan = plan_of(grid={"strategy": ["single", "ddp"]}, budget={"memory_limit": "1.5 GiB", "repeats": 1})
    assert {trial.memory_limit_bytes for trial in plan.trials} == {3 * 2**29}
    assert {trial.memory_limit_bytes for trial in plan_of().trials} == {None}


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 512 * MIB), ("1 GB", 10**9), (" 1.5KiB ", 1536), ("3KB", 3000), ("2GiB", 2**31)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert memory_bytes(text) == size
    assert memory_bytes(memory_text(size)) == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize("text", ["", "512", "12 apples", "-1MiB", "0MiB", "1e3MiB", "512mib", "MiB", "0.0001KiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size above 0 with its unit"):
        memory_bytes(text)


# shown


def searched_run(found: dict[str, int]) -> StoredRun:
    """A run whose cells searched for their micro-batch. found: strategy → what fits; 0: nothing."""
    run = made.synthetic_run(made.Shape(workloads=["gpt"], precisions={"fp32": 1.0}, rounds=3))
    records = []
    for record in run.records:
        largest = found.get(record.trial.strategy.label, 8)
        among = (1, 2, 4, 8)
        tries = [
            Try(micro_batch=8, status=Status.OK if largest == 8 else Status.OOM, reason="planted"),
            *([Try(micro_batch=2, status=Status.OK, peak_allocated_bytes=3 * MIB)] if largest == 2 else []),
            *([Try(micro_batch=4, status=Status.OOM)] * 2 if largest == 2 else []),
        ]
        trial = record.trial.model_copy(
            update={"among": among, "memory_limit_bytes": 64 * MIB, "searched": largest > 0}
        )
        trial = trial.model_copy(update={"micro_batch": largest or 8, "accumulation": 8 // (largest or 8)})
        records.append(record.model_copy(update={"trial": trial, "search": tries}))
    run.records[:] = records
    return run


def test_cells_say_what_was_found_and_are_still_one_group() -> None:
    """Negative control: grouped by the number found, each cell would stand alone without a baseline."""
    frame = trials_frame(searched_run({"ddp": 2}))
    assert frame["group"].nunique() == 1
    assert set(frame[frame["strategy_label"] == "ddp"]["label"]) == {"ddp fp32 (micro_batch max → 2)"}
    assert set(frame[frame["strategy_label"] == "single"]["label"]) == {"single fp32 (micro_batch max → 8)"}


def test_page_shows_tries_limit_and_what_fits() -> None:
    run = searched_run({"ddp": 2})
    each = study(run)
    table = fit_table(each, look_of(each.trials["strategy"]), "fits")
    assert table is not None
    rows = {row.cells[0]: row.cells for row in table.rows}
    assert "fsdp fp32 (reshard_after_forward=false)" in rows
    assert rows["ddp fp32"][1:5] == ("2", "8", "4", "3.00")
    assert rows["ddp fp32"][5] == "8 out of memory, 2 fits (3.00 MiB), 4 out of memory twice"
    page = build_page(run)
    assert "Largest micro-batch that fits into 64 MiB per device" in page
    assert "memory limited to 64 MiB per device" in page
    assert "max → 2" in page
    assert "longer on CPU under a memory limit" in page


def test_page_without_searches_has_no_such_table() -> None:
    page = build_page(made.one_round())
    assert "Largest micro-batch" not in page
    assert "memory limited" not in page


def test_tries_are_told_as_they_ended() -> None:
    tries = [
        Try(micro_batch=8, status=Status.CRASHED, reason="rank 0: killed by SIGKILL", signal="SIGKILL"),
        Try(micro_batch=4, status=Status.OOM),
        Try(micro_batch=4, status=Status.OK),
    ]
    assert tries_text(tries) == "8 CRASHED: rank 0: killed by SIGKILL, 4 fits, though not at first"


# the limit itself


REFUSED = """
import torch
from harness.machine.device import Device
device = Device()
assert device.limit_memory(2**26) is None
try:
    torch.ones(2**25)
except RuntimeError as error:
    assert device.is_out_of_memory(error)
else:
    raise AssertionError("128 MiB fit into 64")
assert torch.ones(2**20)[0] == 1, "what is left can be used"
assert device.lift_memory_limit()
assert torch.ones(2**25)[0] == 1
assert not device.lift_memory_limit()
"""


def test_cpu_refuses_what_is_beyond_the_limit_and_nothing_once_it_is_lifted() -> None:
    """In a fresh process: this one may hold enough freed memory for it."""
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FREED = """
import sys
import numpy as np
from harness.machine import data_size
for _time in range(3):
    parts = [np.ones(2**20) for _part in range(6)]
    del parts
if sys.argv[1] == "limited":
    data_size.limit_growth(2**28)
parts = [np.ones(2**20) for _part in range(6)]
before = data_size.data_bytes()
del parts[::2]
print(before - data_size.data_bytes())
"""
"""Three of six blocks of 8 MiB are freed, not neighbours: by how much does what the kernel counts fall?"""


@pytest.mark.parametrize(("how", "given_back_bytes"), [("limited", 24 * MIB), ("as it is", 0)])
def test_freed_blocks_are_given_back_under_a_limit(how: str, given_back_bytes: int) -> None:
    """Else holes in the heap would count, and what fits once would not fit later; `as it is` is the control."""
    done = subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == pytest.approx(given_back_bytes, abs=MIB)


def test_a_system_that_does_not_tell_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_size, "STATUS", Path("/nowhere/status"))
    assert "needs Linux" in (Device().limit_memory(MIB) or "")


def test_what_onednn_says_counts_under_a_limit_only() -> None:
    error = RuntimeError("could not create a primitive")
    assert Device().is_out_of_memory(error, limited=True)
    assert not Device().is_out_of_memory(error)
    assert not Device().is_out_of_memory(RuntimeError("sizes do not match"), limited=True)


@pytest.mark.parametrize(("limit", "fraction"), [(2**30, 0.25), (2**40, 1.0)])
def test_accelerator_gets_its_share_of_the_device(monkeypatch: pytest.MonkeyPatch, limit: int, fraction: float) -> None:
    asked: list[tuple[float, int]] = []
    module = SimpleNamespace(
        get_device_properties=lambda _index: SimpleNamespace(total_memory=2**32),
        set_per_process_memory_fraction=lambda share, index: asked.append((share, index)),
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _kind: module)
    assert Accelerator("cuda", 3).limit_memory(limit) is None
    assert asked == [(fraction, 3)]


def test_accelerator_without_such_a_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda _kind: SimpleNamespace())
    assert "no memory limit" in (Accelerator("odd", 0).limit_memory(1) or "")
