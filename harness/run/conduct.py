"""Conduct a plan: every trial once, in order, each to a record on disk, whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from harness.machine.inventory import Inventory
from harness.run.executors.local import Execution
from harness.run.merge import merge
from harness.run.plan import Plan, parity_key, reference_trial
from harness.run.predictions import Forecast
from harness.run.search import Search, search
from harness.run.store import RunFolder
from harness.run.utilisation import with_utilisation
from harness.schema.record import Phase, Record, Status, StepSeries
from harness.schema.trial import Trial

Execute = Callable[[Trial], Execution]
Referred = tuple[Record, StepSeries | None]
Kept = Mapping[str, tuple[Record, StepSeries | None]]


@dataclass(frozen=True)
class Event:
    """Something a person may want to see. done, total: trials of the plan; record: of a trial that has ended.

    tried: of a trial that only tries whether a micro-batch fits, which is none of the plan.
    """

    kind: Literal["reference", "started", "finished", "kept", "tried"]
    trial: Trial
    done: int
    total: int
    record: Record | None = None


@dataclass
class Conductor:
    """Executes trials and keeps their records.

    execute: runs a trial's processes; observe: is told what happens; kept: records of earlier runs by trial id, which
    are copied instead of executed (`--resume`); searches: by cell, the search for its largest micro-batch, done before
    its first trial and used in all rounds (with `--resume` also that of an earlier run).
    """

    inventory: Inventory
    folder: RunFolder
    execute: Execute
    observe: Callable[[Event], None]
    kept: Kept = field(default_factory=dict)
    searches: dict[str, Search] = field(default_factory=dict)
    forecast: Forecast | None = None
    """puts what was predicted beside what is measured"""
    _references: dict[str, Referred] = field(default_factory=dict)
    _ended_well: dict[str, bool] = field(default_factory=dict)
    """by cell: whether any of its trials in this run did"""

    def conduct(self, plan: Plan) -> bool:
        """Run the whole plan; False where the person interrupted it. What was stored until then is whole."""
        total, done = len(plan.trials) + len(plan.unsupported), 0
        for trial, reason in plan.unsupported:
            done += 1
            record = without_execution(trial, Status.UNSUPPORTED, reason, self.inventory.machine_key)
            self.folder.append(record, None)
            self.observe(Event("finished", trial, done, total, record))
        return all(self._conduct_one(trial, number, total) for number, trial in enumerate(plan.trials, done + 1))

    def _conduct_one(self, trial: Trial, done: int, total: int) -> bool:
        """One trial of the plan to a record on disk, executed or not; False where the person interrupted it."""
        if trial.kind == "trace" and self._ended_well.get(trial.measured_cell) is False:
            return True  # what never ended well would only fail, or hang, once more
        found = self._searched(trial, done, total)
        if found is not None and found.micro_batch is None:
            key = self.inventory.machine_key
            record = without_execution(trial, found.status, found.reason or "", key, found.phase)
            return self._ended(record, None, found, done, total)
        if found is not None and found.micro_batch is not None:
            trial = trial.with_micro_batch(found.micro_batch, searched=True)
        kept = self.kept.get(trial.id)
        if kept is None or kept[0].trial.micro_batch != trial.micro_batch:
            return self._execute(trial, found, done, total)
        self._remember(kept[0])
        self.folder.append(*kept)
        self.observe(Event("kept", trial, done, total, kept[0]))
        return True

    def _execute(self, trial: Trial, found: Search | None, done: int, total: int) -> bool:
        reference = self.reference(trial, done, total) if trial.kind == "measure" else None  # a trace is not compared
        if reference is not None and reference[0].status is Status.INTERRUPTED:
            return False
        record, series = self._run_or_interrupted(trial, reference, done, total)
        return self._ended(record, series, found, done, total)

    def _ended(self, record: Record, series: StepSeries | None, found: Search | None, done: int, total: int) -> bool:
        """Keep a record; False where the person interrupted its trial."""
        record = record.model_copy(update={"search": list(found.tries) if found else []})
        self._remember(record)
        self.folder.append(record, series)
        self.observe(Event("finished", record.trial, done, total, record))
        return record.status is not Status.INTERRUPTED

    def _remember(self, record: Record) -> None:
        cell = record.trial.measured_cell
        self._ended_well[cell] = self._ended_well.get(cell, False) or record.status is Status.OK

    def _searched(self, trial: Trial, done: int, total: int) -> Search | None:
        """The search for the trial's micro-batch, done once per cell; None: it is known without one."""
        cell = trial.measured_cell
        if trial.among and not trial.searched and cell not in self.searches:

            def attempt(asked: Trial) -> Record:
                record, _series = self._run_or_interrupted(asked, None, done, total)
                self.observe(Event("tried", asked, done, total, record))
                return record

            self.searches[cell] = search(trial, attempt)
        return self.searches.get(cell)

    def _run_or_interrupted(self, trial: Trial, reference: Referred | None, done: int, total: int) -> Referred:
        try:
            if trial.kind == "measure":
                self.observe(Event("started", trial, done, total))
            return self.run(trial, reference)
        except KeyboardInterrupt:  # while its processes were being started or cleared away
            reason = "the run was stopped while this trial was running"
            return without_execution(trial, Status.INTERRUPTED, reason, self.inventory.machine_key), None

    def run(self, trial: Trial, reference: Referred | None) -> Referred:
        """Execute one trial and make its record."""
        execution = self.execute(trial)
        record, series = merge(
            trial,
            execution.ranks,
            reference,
            ended=execution.ended,
            started_at=execution.started_at,
            ended_at=execution.ended_at,
            load=execution.load,
            environment=self.inventory.machine_key,
            command=repeat_command(trial),
        )
        record = record.model_copy(update={"artifacts": execution.artifacts})
        record = with_utilisation(record, self.folder.info)
        return self.forecast.put_into(record) if self.forecast and trial.kind == "measure" else record, series

    def reference(self, trial: Trial, done: int = 0, total: int = 0) -> Referred:
        """The execution this trial's loss and gradient norm are compared with; run when first needed."""
        key = parity_key(trial)
        if key not in self._references:
            asked = reference_trial(trial)
            self.observe(Event("reference", asked, done, total))
            self._references[key] = self.run(asked, None)
            self.folder.append_reference(*self._references[key])
        return self._references[key]


def without_execution(trial: Trial, status: Status, reason: str, machine_key: str, phase: Phase = Phase.PLAN) -> Record:
    """The record of a trial that left nothing itself: impossible here, or stopped. A row, never a missing one."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Record(
        trial=trial,
        status=status,
        reason=reason,
        phase=phase,
        environment=machine_key,
        started_at=now,
        ended_at=now,
        command=repeat_command(trial),
    )


def repeat_command(trial: Trial) -> str:
    """What a person types to run the one trial again."""
    return f"harness rerun {trial.id}"
