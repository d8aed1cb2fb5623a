"""Why a cell cannot run on this machine, as far as planning can tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.machine.inventory import Inventory
from harness.recipes.obstacles import recipe_obstacle
from harness.run.cells import Cell, data_shares, least_micro_batch, obstacle
from harness.strategies import Requirements, Setting
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from harness.strategies.techniques import techniques
from harness.workloads import registry as workloads

CPU_SHARES = 2
"""Devices that `auto` stands for on CPU: the fewest on which parallel strategies differ from one process."""


def most_devices(kind: str, inventory: Inventory) -> int:
    """The most devices that `auto` stands for."""
    return min(CPU_SHARES, inventory.count(kind)) if kind == "cpu" else inventory.count(kind)


def why_not(cell: Cell, kind: str, count: int, inventory: Inventory) -> str | None:
    """The first reason why the cell cannot run on so many devices of that kind, or None: it can."""
    if why := inventory.unsupported_precisions.get(kind, {}).get(cell.precision.name):
        return f"{cell.precision.name} on {kind}: {why}"
    reasons = _own_reasons(cell, setting_of(cell, kind, count, inventory))
    strategy = next(reasons)
    accelerator_only = kind == "cpu" and strategies[cell.strategy.name].facts.accelerator_only
    if accelerator_only:
        return strategy
    if too_few := _too_few(cell, kind, count, inventory):
        return too_few
    return obstacle(cell, count) or strategy or next(filter(None, reasons), None)


def candidates(cell: Cell, kind: str, count: int, inventory: Inventory) -> tuple[int, ...]:
    """Micro-batches that the cell could have on so many devices: divisors of a device's samples of a step.

    Where the cell names one it is not searched for: there are no candidates.
    """
    if cell.micro_batch != "max":
        return ()
    share = cell.global_batch // data_shares(cell, count)

    def possible(size: int) -> bool:
        return why_not(cell.model_copy(update={"micro_batch": size}), kind, count, inventory) is None

    return tuple(size for size in range(1, share + 1) if share % size == 0 and possible(size))


def setting_of(cell: Cell, kind: str, count: int, inventory: Inventory) -> Setting:
    """The cell as strategies, precisions and techniques are told of it."""
    facts = workloads[cell.workload.name].facts
    return Setting(
        kind=kind,
        devices=count,
        strategy=cell.strategy.name,
        precision=cell.precision.name,
        techniques=tuple(technique.name for technique in cell.techniques),
        workload=cell.workload.name,
        shape=facts.sizes.get(cell.size, {}),
        model=facts.model,
        global_batch=cell.global_batch,
        micro_batch=least_micro_batch(cell),
        capability=inventory.capability if kind == "cuda" else None,
    )


def _own_reasons(cell: Cell, setting: Setting) -> Iterator[str | None]:
    """What strategy, precision, techniques and optimizer say themselves, in this order."""
    asked: list[tuple[Requirements, Mapping[str, Any]]] = [
        (strategies[cell.strategy.name].facts, cell.strategy.options),
        (precisions[cell.precision.name].facts, cell.precision.options),
        *((techniques[technique.name].facts, technique.options) for technique in cell.techniques),
    ]
    for facts, options in asked:
        yield facts.against(setting, options)
    yield recipe_obstacle(cell.recipe, setting)


def _too_few(cell: Cell, kind: str, count: int, inventory: Inventory) -> str | None:
    """Too few devices where the suite leaves their number to the machine."""
    least, most = strategies[cell.strategy.name].facts.min_devices, most_devices(kind, inventory)
    if cell.devices != "auto" or not count < least <= inventory.count(kind):
        return None
    if most < least:
        return f"{cell.strategy.name} needs at least {least} devices; devices = 'auto' stands for {most} on CPU"
    return (
        f"{cell.strategy.name} needs at least {least} devices, and micro_batch {cell.micro_batch} times "
        f"{least} to {most} of them does not divide global_batch {cell.global_batch}"
    )
