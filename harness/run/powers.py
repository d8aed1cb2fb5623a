"""`devices = "powers"`: 1, 2, 4, … up to all devices of the machine, so that one suite asks for scaling anywhere. Pure.

What it stands for is put into the suite before anything is planned: the suite that a run keeps says the counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.machine.inventory import Inventory
from harness.run.cells import given_cells
from harness.schema.suite import Choice, Settings, Suite
from harness.strategies import registry as strategies

POWERS = "powers"
ASSUMED_MOST = 1024
"""Devices that a suite is checked with before the machine is known: what runs on none of the counts never runs."""


def powers(most: int) -> list[int]:
    """1, 2, 4, … and last `most` itself: 6 devices give 1, 2, 4, 6."""
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return [*counts, most] if most > 1 else counts


def on_machine(suite: Suite, inventory: Inventory, most: int | None = None) -> Suite:
    """The suite with the counts of this machine for `powers`; any other suite as it is.

    most: where they end in place of all devices of the machine (`--devices`).
    Where a strategy would be executed as on fewer devices, or cannot run on so few, the cell is excluded (see
    `useful`), but one that can run on no count stays at the largest, so that its reason is seen.
    """
    if suite.grid.devices != POWERS:
        return suite
    kind = inventory.kind(suite.fixed.device or "auto")
    counts = powers(most or max(1, inventory.count(kind)))
    counted = _with_counts(suite, counts)
    excluded: list[Settings] = []
    for strategy in _strategies(counted):
        kept = useful(strategy, counts, kind) or counts[-1:]
        excluded += [Settings(strategy=strategy, devices=count) for count in counts if count not in kept]
    return counted.model_copy(update={"exclude": [*counted.exclude, *excluded]})


def _with_counts(suite: Suite, counts: Sequence[int]) -> Suite:
    """The suite with these counts of devices in its grid."""
    return suite.model_copy(update={"grid": suite.grid.model_copy(update={"devices": list(counts)})})


def assumed(suite: Suite) -> Suite:
    """The suite as it is checked before the machine is known: `powers` up to more devices than a machine has.

    Counts that an exclusion names are among them: 6 is a count of a machine with 6 devices.
    """
    if suite.grid.devices != POWERS:
        return suite
    named = {pattern.devices for pattern in suite.exclude if isinstance(pattern.devices, int)}
    return _with_counts(suite, sorted({*powers(ASSUMED_MOST), *named}))


def useful(strategy: Choice, counts: Sequence[int], kind: str) -> list[int]:
    """Counts on which the strategy can run and is not what it is on fewer devices.

    One process that uses one device, or one share of the cores, is the same whatever the cell's devices.
    """
    facts = strategies[strategy.name].facts
    able = [count for count in counts if count >= facts.min_devices]
    if facts.processes == "per_device" or facts.splits_micro_batch:
        return able
    if kind == "cpu" and facts.shares is not None and facts.shares(2, **strategy.options) > 1:
        return able
    return able[:1]


def _strategies(suite: Suite) -> list[Choice]:
    """Strategies of the grid's cells; where they name none, it is `single`."""
    cells = given_cells(suite.model_copy(update={"include": []}))
    found = (cell.strategy or Choice(name="single") for cell in cells)
    return list(dict.fromkeys(found))
