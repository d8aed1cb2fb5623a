"""Scaling suites: what `devices = "powers"` and `batch_per_device` stand for, and that a device is the same for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.machine.inventory import Inventory
from harness.run.executors.local import jobs
from harness.run.plan import Plan, make_plan, parity_key
from harness.run.powers import on_machine, powers
from harness.run.spec import with_overrides
from harness.run.where import parse_where
from harness.schema.errors import InputError
from harness.schema.suite import Suite
from harness.schema.trial import Trial
from tests.test_plan import CPU, GPUS, ONE_CORE
from tests.test_plan import suite as made
from tests.toys import toys

pytestmark = pytest.mark.usefixtures("toys")
__all__ = ["toys"]

SIX = Inventory(cores=list(range(6)))


def scaling(**tables: Any) -> Suite:
    """single and ddp over powers, strong at 64 samples a step; keyword arguments are further tables."""
    fixed = {"global_batch": 64, **tables.pop("fixed", {})}
    grid = {"strategy": ["single", "ddp"], "devices": "powers", **tables.pop("grid", {})}
    baseline = {"strategy": "single", "devices": 1}
    return made(**{"fixed": fixed, "grid": grid, "baseline": baseline, **tables})


def planned(inventory: Inventory, most: int | None = None, where: tuple[str, ...] = (), **tables: Any) -> Plan:
    return make_plan(on_machine(scaling(**tables), inventory, most), inventory, where=parse_where(where))


def cells(plan: Plan) -> set[tuple[str, int]]:
    return {(trial.strategy.label, trial.cell_devices) for trial in plan.trials}


@pytest.mark.parametrize(
    ("most", "counts"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])],
)
def test_powers_end_with_all_devices(most: int, counts: list[int]) -> None:
    assert powers(most) == counts


def test_each_strategy_is_planned_on_the_counts_that_it_can_use() -> None:
    assert cells(planned(SIX, fixed={"global_batch": 192})) == {("single", 1), ("ddp", 2), ("ddp", 4), ("ddp", 6)}
    assert cells(planned(GPUS)) == {("single", 1), ("ddp", 2), ("ddp", 4), ("ddp", 8)}
    strategies = ["single", {"name": "single", "cores": "all"}, "grid4"]
    found = planned(CPU, grid={"strategy": strategies})
    threads = {("single(cores=all)", count) for count in (1, 2, 4)}
    assert cells(found) == {("single", 1), ("grid4", 4), *threads}, "threads over more cores do scale"
    found = planned(GPUS, grid={"strategy": strategies})
    assert ("single(cores=all)", 2) not in cells(found), "on accelerators it is one device"


def test_a_strategy_that_fits_nowhere_stays_with_its_reason() -> None:
    found = planned(ONE_CORE)
    assert cells(found) == {("single", 1)}
    assert [(trial.strategy.name, reason) for trial, reason in found.unsupported] == [
        ("ddp", "ddp needs at least 2 devices, there is 1")
    ]


def test_a_suite_without_powers_stays_as_it_is_and_the_resolved_one_says_its_counts() -> None:
    plain = made(fixed={"devices": 2})
    assert on_machine(plain, CPU) is plain
    resolved = on_machine(scaling(), CPU)
    assert resolved.grid.devices == [1, 2, 4]
    assert on_machine(resolved, CPU) is resolved
    again = Suite.model_validate(resolved.model_dump(mode="json", exclude_unset=True))
    assert make_plan(again, CPU) == make_plan(resolved, CPU), "what a run keeps plans the same run"


def test_the_command_line_ends_the_powers() -> None:
    suite = with_overrides(scaling(), devices=2)
    assert suite.grid.devices == "powers"
    assert cells(make_plan(on_machine(suite, CPU, 2), CPU)) == {("single", 1), ("ddp", 2)}
    with pytest.raises(InputError, match="at most 4: this machine has 4 cores"):
        planned(CPU, most=5)


def test_powers_of_a_kind_that_is_not_there() -> None:
    with pytest.raises(InputError, match="this machine has no device of kind cuda"):
        planned(CPU, fixed={"device": "cuda"})


# Shares of the cores


def cores_per_rank(trial: Trial, inventory: Inventory) -> set[int]:
    return {len(order.cores) for order in jobs(trial, inventory.cores, Path("folder"))}


def test_a_device_is_the_same_share_of_the_cores_in_all_cells_that_are_compared() -> None:
    found = planned(CPU)
    assert {trial.device_slots for trial in found.trials} == {4}
    assert {trial.devices_asked for trial in found.trials} == {1, 2, 4}
    for trial in found.trials:
        assert cores_per_rank(trial, CPU) == {1}
        orders = jobs(trial, CPU.cores, Path("folder"))
        assert len({core for order in orders for core in order.cores}) == len(orders), "no core is shared"


def test_without_that_one_device_would_be_all_cores() -> None:
    """Where devices are not compared, each cell has the whole machine: the negative control of the test above."""
    suite = scaling(baseline={"strategy": "single"}, grid={"devices": [1, 2, 4]})
    found = make_plan(suite, CPU)
    single = {trial.device_slots: trial for trial in found.trials if trial.strategy.name == "single"}
    assert {slots: cores_per_rank(trial, CPU) for slots, trial in single.items()} == {1: {4}, 2: {2}, 4: {1}}
    assert {trial.devices_asked for trial in found.trials} == {None}


def test_a_filter_does_not_change_what_a_device_is() -> None:
    whole = {trial.cell for trial in planned(CPU).trials if trial.strategy.name == "single"}
    alone = planned(CPU, where=("strategy=single",))
    assert {trial.cell for trial in alone.trials} == whole, "else --resume would find nothing"


# Batch per device


def test_weak_scaling_makes_the_global_batch_of_the_devices() -> None:
    found = planned(CPU, fixed={"global_batch": None, "batch_per_device": 16})
    batches = {(trial.strategy.name, trial.cell_devices): trial.global_batch for trial in found.trials}
    assert batches == {("single", 1): 16, ("ddp", 2): 32, ("ddp", 4): 64}
    assert {trial.accumulation for trial in found.trials} == {2}, "each device does the same"
    assert {trial.batch_per_device for trial in found.trials} == {16}


def test_the_cells_devices_count_also_for_one_process() -> None:
    (trial,) = make_plan(made(fixed={"batch_per_device": 16, "devices": 4}), CPU).trials
    assert (trial.global_batch, trial.accumulation, trial.devices, trial.processes) == (64, 8, 1, 1)


def test_auto_devices_take_the_batch_per_device_of_each() -> None:
    (trial,) = make_plan(made(fixed={"batch_per_device": 24, "strategy": "ddp"}), GPUS).trials
    assert (trial.devices, trial.global_batch, trial.accumulation) == (8, 192, 3)


def test_strong_and_weak_cells_of_the_same_batch_are_two_cells_with_one_reference() -> None:
    both = planned(CPU, fixed={"global_batch": None}, case=[{"global_batch": 64}, {"batch_per_device": 16}])
    strong, weak = sorted(
        (trial for trial in both.trials if trial.cell_devices == 4), key=lambda trial: trial.batch_per_device or 0
    )
    assert strong.global_batch == weak.global_batch == 64
    assert strong.cell != weak.cell
    assert parity_key(strong) == parity_key(weak)
    assert "batch_per_device" in both.group_keys


def test_labels_tell_the_cells_apart() -> None:
    both = planned(CPU, fixed={"global_batch": None}, case=[{"global_batch": 64}, {"batch_per_device": 16}])
    labels = [trial.label for trial in both.trials]
    assert len(set(labels)) == len(labels)
    assert "toy/nano ddp fp32 devices=4 batch_per_device=16" in labels
