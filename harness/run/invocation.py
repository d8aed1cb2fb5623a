"""One invocation of `harness run` or `harness rerun`: check everything, then carry it out, then close the folder."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.machine.inventory import Inventory
from harness.run.conduct import Conductor, Event, Kept
from harness.run.executors import local
from harness.run.executors.interrupts import terminated_is_interrupted
from harness.run.imagined import Imagined, imagined_cells
from harness.run.plan import Plan, make_plan, traces_of
from harness.run.powers import on_machine
from harness.run.predictions import Forecast
from harness.run.same_data import of_same_data, refuse_other_data
from harness.run.search import Search
from harness.run.spec import load_suite, parse_where, with_overrides
from harness.run.store import RunFolder
from harness.run.stored import stored_ok, stored_searches
from harness.run.utilisation import wanted_peaks
from harness.schema.errors import HarnessError
from harness.schema.record import Peak, Record, RunInfo
from harness.schema.registry import load_plugin
from harness.schema.suite import Suite
from harness.schema.trial import Plugin, Trial

Watch = Callable[[Trial, Path], None]


@dataclass(frozen=True)
class Asked:
    """What the command line asked for."""

    suite_file: Path
    results: Path = Path("results")
    plugins: tuple[Path, ...] = ()
    where: tuple[str, ...] = ()
    repeats: int | None = None
    devices: int | None = None
    resume: bool = False
    command: str = ""
    accept_other_data: bool = False
    traces_only: bool = False
    """trace every cell, whether the suite asks for it or not, and run nothing else"""


@dataclass(frozen=True)
class Ready:
    """Everything is checked, nothing is started or written."""

    suite: Suite
    plan: Plan
    inventory: Inventory


@dataclass(frozen=True)
class Outcome:
    """Where the records are, and whether the whole plan was carried out (False: interrupted)."""

    folder: Path
    finished: bool


def ready(asked: Asked) -> Ready:
    """Read and check suite, plug-ins, filters and machine. Raises InputError or HarnessError with every problem."""
    plugins = tuple(Plugin(path=str(path.resolve()), sha256=load_plugin(path)) for path in asked.plugins)
    where = parse_where(list(asked.where))
    suite = with_overrides(load_suite(asked.suite_file), repeats=asked.repeats, devices=asked.devices)
    inventory = local.probe()
    suite = on_machine(suite, inventory, asked.devices)
    if asked.traces_only:
        suite = suite.model_copy(update={"budget": suite.budget.model_copy(update={"trace": True})})
    plan = make_plan(suite, inventory, where=where, plugins=plugins, file=str(asked.suite_file))
    return Ready(suite, traces_of(plan) if asked.traces_only else plan, inventory)


def imagined(asked: Asked) -> tuple[Suite, list[Imagined]]:
    """Read and check a suite for as many devices as are asked for, whether they are there or not: nothing is started.

    Raises InputError or HarnessError with every problem.
    """
    plugins = tuple(Plugin(path=str(path.resolve()), sha256=load_plugin(path)) for path in asked.plugins)
    suite = with_overrides(load_suite(asked.suite_file), devices=asked.devices, refuse=False)
    where, file = parse_where(list(asked.where)), str(asked.suite_file)
    return suite, imagined_cells(suite, local.probe(), asked.devices, where, plugins, file)


def carry_out(asked: Asked, ready: Ready, observe: Callable[[Event], None], watch: Watch | None = None) -> Outcome:
    """Run the plan into a new run folder. watch: is told of each trial that begins and of its folder while it runs.

    Raises InputError where a workload's data are not those recorded for it, StoreError where the results cannot be
    kept; both before any trial.
    """
    plan, inventory = ready.plan, ready.inventory
    prepared = _prepared(plan.trials)
    refuse_other_data(prepared, asked.accept_other_data)
    kept = of_same_data(stored_ok(asked.results, inventory.machine_key), prepared) if asked.resume else {}
    info = RunInfo(
        suite=ready.suite.model_dump(mode="json", exclude_unset=True),
        suite_file=str(asked.suite_file),
        question=ready.suite.question,
        group_keys=list(plan.group_keys),
        compared_keys=list(plan.compared_keys),
        baseline=plan.baseline,
        workloads=prepared,
        peaks=_peaks([each for each in plan.trials if each.id not in kept and each.kind != "trace"], inventory),
        machine_key=inventory.machine_key,
        environment=inventory.environment,
        planned=sum(trial.kind == "measure" for trial in plan.trials) + len(plan.unsupported),
        command=asked.command,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        harness_version=__version__,
    )
    folder = RunFolder.create(asked.results, info)
    searches = stored_searches(asked.results, inventory.machine_key) if asked.resume else {}
    return Outcome(folder.folder, _conducted(folder, inventory, plan, observe, kept, searches, watch))


def carry_out_one(
    record: Record, info: RunInfo, results: Path, observe: Callable[[Event], None]
) -> tuple[Record, RunFolder]:
    """Run one stored trial again, into a run folder of its own; returns the new record."""
    trial = record.trial
    for plugin in trial.plugins:
        if load_plugin(Path(plugin.path)) != plugin.sha256:
            raise HarnessError(f"plug-in {plugin.path} is not the file that trial {trial.id} ran with")
    inventory = local.probe()
    update: dict[str, Any] = {"planned": 1, "machine_key": inventory.machine_key, "environment": inventory.environment}
    prepared = _prepared([trial])
    if not of_same_data({trial.id: (record, None)}, prepared):
        raise HarnessError(f"the data of {trial.workload.label} are not those that trial {trial.id} was trained on")
    update |= {"workloads": info.workloads | prepared, "peaks": _peaks([trial], inventory)}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    update |= {"command": f"harness rerun {trial.id}", "started_at": now, "ended_at": None}
    folder = RunFolder.create(results, info.model_copy(update=update))
    latest: list[Record] = []

    def watch(event: Event) -> None:
        if event.record is not None:
            latest.append(event.record)
        observe(event)

    alone = Plan(trials=[trial], unsupported=[], group_keys=info.group_keys, compared_keys=info.compared_keys)
    known = Search(tuple(record.search), trial.micro_batch)
    finished = _conducted(folder, inventory, alone, watch, {}, {trial.cell: known} if trial.searched else {})
    if not finished or not latest:
        raise HarnessError(f"trial {trial.id} was interrupted; what there is stands in {folder.folder}")
    return latest[-1], folder


def _conducted(
    folder: RunFolder,
    inventory: Inventory,
    plan: Plan,
    observe: Callable[[Event], None],
    kept: Kept,
    searches: dict[str, Search],
    watch: Watch | None = None,
) -> bool:
    def execute(trial: Trial) -> local.Execution:
        return local.execute(trial, inventory.cores, folder.folder, watch)

    forecast = Forecast()
    conductor = Conductor(inventory, folder, execute, observe, kept, searches, forecast)
    finished = False
    try:
        with terminated_is_interrupted():
            forecast.look_at([each for each in plan.trials if each.kind == "measure" and each.id not in kept])
            finished = conductor.conduct(plan)
    except KeyboardInterrupt:
        finished = False
    usage = resource.getrusage(resource.RUSAGE_SELF)
    folder.finish(parent_cpu_s=usage.ru_utime + usage.ru_stime)
    return finished


def _prepared(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Of each workload: what the page says of it. Its data are cached by this, before anything is timed."""
    asked = {(trial.workload.label, trial.size): trial for trial in trials}
    found = {}
    for (label, size), trial in asked.items():
        name, options, plugins = trial.workload.name, trial.workload.options, [each.path for each in trial.plugins]
        facts = local.prepare(name, size, options, plugins)
        counted = local.count_flops(name, size, options, plugins) if "error" not in facts else {}
        found[f"{label}/{size}"] = facts | counted
    return found


def _peaks(trials: Sequence[Trial], inventory: Inventory) -> list[Peak]:
    """What these trials' devices reach in matrix products, measured before the first of them."""
    paths = list(dict.fromkeys(plugin.path for trial in trials for plugin in trial.plugins))
    return [
        local.measure_peak(wanted.device, inventory.cores[: wanted.cores or 0], wanted.precision, paths)
        for wanted in wanted_peaks(trials, inventory.cores)
    ]


def command_line() -> str:
    """The command as a person would type it again."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
