"""A plan for devices that are not there: what a suite would run on as many as it is asked about. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.machine.inventory import Inventory
from harness.run.plan import Plan, make_plan
from harness.run.powers import on_machine
from harness.run.where import Where
from harness.schema.suite import Suite
from harness.schema.trial import Plugin, Trial


@dataclass(frozen=True)
class Imagined:
    """A cell of the suite on these devices. reason: why it cannot be at all; None: it can.

    rebatched: the suite's batch does not divide among so many devices: its first trial has one micro-batch on each.
    """

    trial: Trial
    reason: str | None = None
    rebatched: bool = False


def imagined_cells(
    suite: Suite, inventory: Inventory, devices: int | None, where: Where = (), plugins: tuple[Plugin, ...] = (),
    file: str = "suite",
) -> list[Imagined]:  # fmt: skip
    """Each cell of the suite once, by name. devices: how many to think of; None: what the suite says.

    Raises InputError with every problem.
    """
    there = with_devices(inventory, inventory.kind(suite.fixed.device or "auto"), _most(suite, devices))
    plan = make_plan(on_machine(suite, there, devices), there, where=where, plugins=plugins, file=file)
    found = [*_possible(plan), *(_impossible(trial, reason) for trial, reason in plan.unsupported)]
    return sorted(found, key=lambda each: each.trial.label)


def with_devices(inventory: Inventory, kind: str, most: int) -> Inventory:
    """The machine as if it had at least so many devices of that kind."""
    if kind == "cpu":
        return inventory.model_copy(update={"cores": list(range(max(most, len(inventory.cores))))})
    missing = most - len(inventory.accelerator_names)
    if missing <= 0 or not inventory.accelerator_names:
        return inventory
    names = inventory.accelerator_names + inventory.accelerator_names[-1:] * missing
    memory = inventory.accelerator_memory_bytes + inventory.accelerator_memory_bytes[-1:] * missing
    return inventory.model_copy(update={"accelerator_names": names, "accelerator_memory_bytes": memory})


def _most(suite: Suite, devices: int | None) -> int:
    """The most devices that anything names."""
    return max([devices or 1, *_named(suite)])


def _named(suite: Suite) -> Iterator[int]:
    grid = suite.grid.devices
    asked = [suite.fixed.devices, *(each.devices for each in (*suite.include, *suite.case))]
    yield from (each for each in (*asked, *(grid if isinstance(grid, list) else ())) if isinstance(each, int))


def _possible(plan: Plan) -> Iterator[Imagined]:
    yield from (Imagined(trial) for trial in {trial.cell: trial for trial in plan.trials}.values())


def _impossible(trial: Trial, reason: str) -> Imagined:
    shares = max(1, trial.devices // trial.model_ranks)
    if trial.among or trial.global_batch % (trial.micro_batch * shares) == 0:
        return Imagined(trial, reason)
    whole = trial.micro_batch * shares
    return Imagined(trial.model_copy(update={"global_batch": whole, "accumulation": 1}), rebatched=True)
