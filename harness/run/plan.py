"""The plan: a suite and a machine in, trials in the order of execution out. Pure: nothing is started or read.

Order: repeat outermost, then seed; within such a round the cells are shuffled, so that drift of the machine hits all
cells alike. The shuffle depends on the suite and the round only: the same plan again is the same order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.machine.inventory import Inventory
from harness.run.cells import (
    Cell,
    cells_of,
    data_shares,
    keys_of,
    least_micro_batch,
    matches,
    model_ranks,
    on_devices,
    spread,
)
from harness.run.feasible import candidates, most_devices, why_not
from harness.run.search import tries_at_most
from harness.run.where import Where, filtered
from harness.schema.errors import InputError, Problem
from harness.schema.recipe_text import telling
from harness.schema.suite import Choice, Recipe, Suite
from harness.schema.trial import Plugin, Trial, content_hash
from harness.strategies import registry as strategies

TRIAL_S = 5.0
"""A guess of a trial's seconds where nothing like it was ever run here."""


@dataclass(frozen=True)
class Plan:
    """What will be executed. unsupported: one trial per cell that cannot run here, with the reason.

    group_keys, compared_keys: see `cells.Keys`; baseline: the compared keys' values; baseline_cells: content hashes
    of the cells that have them.
    """

    trials: list[Trial]
    unsupported: list[tuple[Trial, str]] = field(default_factory=list)
    group_keys: Sequence[str] = ()
    compared_keys: Sequence[str] = ()
    baseline: dict[str, Any] = field(default_factory=dict)
    baseline_cells: Sequence[str] = ()


def make_plan(
    suite: Suite,
    inventory: Inventory,
    *,
    where: Where = (),
    plugins: Sequence[Plugin] = (),
    file: str = "suite",
) -> Plan:
    """Expand the suite for this machine (`powers.on_machine` comes before).

    where: filters of `parse_where`; plugins: files whose registrations the trials need; file: named in errors.
    Raises InputError with every problem: devices the machine does not have, a filter no cell fits.
    """
    every = cells_of(suite)
    cells = filtered(every, where)
    if problems := _more_than_there_is(cells, inventory, file, suite.budget.oversubscribe):
        raise InputError(problems)
    keys = keys_of(suite)
    slots = _slots(every, inventory) if "devices" in keys.compared else {}
    possible: list[Trial] = []
    unsupported: list[tuple[Trial, str]] = []
    baseline_cells: dict[str, None] = {}
    for cell in cells:
        trial, reason = _trial(cell, suite, inventory, tuple(plugins), slots)
        if reason is None:
            possible.append(trial)
        else:
            unsupported.append((trial, reason))
        if matches(cell, keys.baseline):
            baseline_cells[trial.cell] = None
    varied = _varied([*possible, *(trial for trial, _reason in unsupported)])
    return Plan(
        trials=_ordered([_told(trial, varied) for trial in possible], suite),
        unsupported=[(_told(trial, varied), reason) for trial, reason in unsupported],
        group_keys=keys.group,
        compared_keys=keys.compared,
        baseline=keys.baseline.model_dump(mode="json", exclude_none=True),
        baseline_cells=tuple(baseline_cells),
    )


def _varied(trials: Sequence[Trial]) -> dict[tuple[str, str], tuple[str, ...]]:
    """By workload and size: the keys in which the recipes of its trials differ, in the order of a recipe."""
    recipes: dict[tuple[str, str], list[Recipe]] = {}
    for trial in trials:
        recipes.setdefault((trial.workload.label, trial.size), []).append(trial.recipe)
    return {task: telling(own) for task, own in recipes.items()}


def _told(trial: Trial, varied: Mapping[tuple[str, str], tuple[str, ...]]) -> Trial:
    return trial.model_copy(update={"varied": varied[trial.workload.label, trial.size]})


def _ordered(trials: Sequence[Trial], suite: Suite) -> list[Trial]:
    trials = list({trial.cell: trial for trial in trials}.values())
    suite_hash = content_hash(suite.model_dump(mode="json"))
    ordered = []
    for repeat in range(suite.budget.repeats):
        for seed in dict.fromkeys(suite.budget.seeds):
            round_ = [trial.model_copy(update={"repeat": repeat, "seed": seed}) for trial in trials]
            random.Random(f"{suite_hash} {repeat} {seed}").shuffle(round_)
            ordered += round_
    return ordered + (_traces(trials, suite) if suite.budget.trace else [])


def _traces(trials: Sequence[Trial], suite: Suite) -> list[Trial]:
    """One trial under the profiler per cell, when all that is timed is done."""
    update = {"kind": "trace", "repeat": 0, "seed": suite.budget.seeds[0]}
    return [trial.model_copy(update=update) for trial in trials]


def traces_of(plan: Plan) -> Plan:
    """The plan's trace trials alone."""
    return replace(plan, trials=[trial for trial in plan.trials if trial.kind == "trace"])


def _slots(cells: Sequence[Cell], inventory: Inventory) -> dict[str, int]:
    """By kind of device: the most devices of any cell. Where numbers of devices are compared, a device must be the
    same share of the cores for all: on four cores one device of four, and of two, is one core, not all and two.
    """
    most: dict[str, int] = {}
    for cell in cells:
        kind = inventory.kind(cell.device)
        most[kind] = max(most.get(kind, 1), _count(cell, inventory))
    return most


def _trial(
    cell: Cell, suite: Suite, inventory: Inventory, plugins: tuple[Plugin, ...], slots: Mapping[str, int]
) -> tuple[Trial, str | None]:
    """The cell's first trial, and why it cannot run on this machine (None: it can). slots: of `_slots`, or empty."""
    kind, count = inventory.kind(cell.device), _count(cell, inventory)
    cell = on_devices(cell, count)
    facts = strategies[cell.strategy.name].facts
    reason = why_not(cell, kind, count, inventory)
    used = spread(cell, count)
    among = candidates(cell, kind, count, inventory)
    micro_batch = max(among, default=least_micro_batch(cell))
    trial = Trial(
        **{key: getattr(cell, key) for key in COPIED},
        micro_batch=micro_batch,
        among=among,
        accumulation=max(1, cell.global_batch // (micro_batch * data_shares(cell, count))),
        parity_steps=suite.budget.parity_steps,
        device=kind,
        devices=used,
        processes=count if facts.processes == "per_device" else 1,
        model_ranks=min(count, model_ranks(cell, count)),
        shares=facts.shares(count, **cell.strategy.options) if facts.shares and kind == "cpu" else 1,
        device_slots=slots.get(kind, count),
        devices_asked=count if slots else None,
        plugins=plugins,
        seed=suite.budget.seeds[0],
        repeat=0,
        memory_limit_bytes=suite.budget.memory_limit_bytes,
        timeout_s=suite.budget.trial_timeout_s,
    )
    return trial, reason


COPIED = (
    "workload",
    "size",
    "strategy",
    "precision",
    "techniques",
    "recipe",
    "global_batch",
    "batch_per_device",
    "steps",
    "warmup_steps",
    "eval_every",
)
"""Keys that a trial takes from its cell as they are."""


def _count(cell: Cell, inventory: Inventory) -> int:
    """Devices of the cell. auto: as many as there are (on CPU two shares) whose micro-batches divide the batch."""
    if isinstance(cell.devices, int):
        return cell.devices
    kind = inventory.kind(cell.device)
    fitting = (
        count
        for count in range(most_devices(kind, inventory), 1, -1)
        if on_devices(cell, count).global_batch % (least_micro_batch(cell) * count) == 0
    )
    return next(fitting, 1)


def _more_than_there_is(cells: Sequence[Cell], inventory: Inventory, file: str, shared: bool) -> list[Problem]:
    """Devices that cells name and the machine does not have; ranks may share the cores of a CPU where `shared`."""
    problems: dict[Problem, None] = {}
    for cell in cells:
        kind = inventory.kind(cell.device)
        there = inventory.count(kind)
        if there == 0:
            usable = ", ".join(dict.fromkeys(["auto", "cpu", inventory.accelerator or "cpu"]))
            expected = f"one of {usable}: this machine has no device of kind {kind}"
            problems[Problem(file, "device", kind, expected)] = None
        elif isinstance(cell.devices, int) and cell.devices > there and not (shared and kind == "cpu"):
            what = "cores that this process may use" if kind == "cpu" else f"{kind} devices"
            expected = f"at most {there}: this machine has {there} {what}"
            problems[Problem(file, "devices", cell.devices, expected)] = None
    return list(problems)


def reference_trial(trial: Trial) -> Trial:
    """The execution that the trial's first steps are compared with: one process in fp32, nothing else changed.

    `steps` and `warmup_steps` stay as they are although only `parity_steps` steps are trained: the learning-rate
    schedule is laid over them. `micro_batch` stays too, also where it was found: BatchNorm sees the same groups of
    samples. A memory limit does not: one process may need more than a device of the trial.
    """
    return trial.model_copy(
        update={
            "kind": "reference",
            "strategy": Choice(name="single"),
            "precision": Choice(name="fp32"),
            "techniques": (),
            "accumulation": trial.global_batch // trial.micro_batch,
            "eval_every": 0,
            "devices": 1,
            "processes": 1,
            "model_ranks": 1,
            "shares": 1,
            "devices_asked": None,
            "batch_per_device": None,
            "among": (),
            "searched": False,
            "memory_limit_bytes": None,
            "repeat": 0,
        }
    )


def parity_key(trial: Trial) -> str:
    """Equal for trials that share a reference."""
    return reference_trial(trial).id


def estimate_s(plan: Plan, past: Mapping[str, float]) -> tuple[float, str]:
    """Seconds the plan will take, and what that goes by in words.

    past: by cell, seconds of an earlier trial on this machine; other cells take the mean of those, or a guess.
    """
    known = [past[trial.cell] for trial in plan.trials if trial.cell in past]
    otherwise = sum(known) / len(known) if known else TRIAL_S
    references = len({parity_key(trial) for trial in plan.trials})
    cells = {trial.cell for trial in plan.trials}
    tries = sum(tries_at_most(among) for among in {trial.cell: trial.among for trial in plan.trials}.values())
    seconds = sum(past.get(trial.cell, otherwise) for trial in plan.trials)
    seconds += (references + tries) * min(otherwise, TRIAL_S)
    ran = len(cells & past.keys())
    if ran == 0:
        return seconds, f"a guess of {TRIAL_S:g} s a trial: none of these cells has run here yet"
    return seconds, f"from earlier trials of {ran} of {len(cells)} cells on this machine"
