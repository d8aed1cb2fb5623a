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
from harness.run.store import RunFolder
from harness.run.utilisation import with_utilisation
from harness.schema.record import Phase, Record, Status, StepSeries
from harness.schema.trial import Trial

Execute = Callable[[Trial], Execution]
Referred = tuple[Record, StepSeries | None]
Kept = Mapping[str, tuple[Record, StepSeries | None]]


@dataclass(frozen=True)
class Event:
    """Something a person may want to see. done, total: trials of the plan; record: of a trial that has ended."""

    kind: Literal["reference", "started", "finished", "kept"]
    trial: Trial
    done: int
    total: int
    record: Record | None = None


@dataclass
class Conductor:
    """Executes trials and keeps their records.

    execute: runs a trial's processes; observe: is told what happens; kept: records of earlier runs by trial id, which
    are copied instead of executed (`--resume`).
    """

    inventory: Inventory
    folder: RunFolder
    execute: Execute
    observe: Callable[[Event], None]
    kept: Kept = field(default_factory=dict)
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
        for trial in plan.trials:
            done += 1
            if trial.kind == "trace" and self._ended_well.get(trial.measured_cell) is False:
                continue  # what never ended well would only fail, or hang, once more
            if trial.id in self.kept:
                record, series = self.kept[trial.id]
                self._remember(record)
                self.folder.append(record, series)
                self.observe(Event("kept", trial, done, total, record))
            elif not self._execute(trial, done, total):
                return False
        return True

    def _execute(self, trial: Trial, done: int, total: int) -> bool:
        reference = self.reference(trial, done, total)
        if reference[0].status is Status.INTERRUPTED:
            return False
        record, series = self._run_or_interrupted(trial, reference, done, total)
        self._remember(record)
        self.folder.append(record, series)
        self.observe(Event("finished", trial, done, total, record))
        return record.status is not Status.INTERRUPTED

    def _remember(self, record: Record) -> None:
        cell = record.trial.measured_cell
        self._ended_well[cell] = self._ended_well.get(cell, False) or record.status is Status.OK

    def _run_or_interrupted(self, trial: Trial, reference: Referred, done: int, total: int) -> Referred:
        try:
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
        return with_utilisation(record, self.folder.info), series

    def reference(self, trial: Trial, done: int = 0, total: int = 0) -> Referred:
        """The execution this trial's loss and gradient norm are compared with; run when first needed."""
        key = parity_key(trial)
        if key not in self._references:
            asked = reference_trial(trial)
            self.observe(Event("reference", asked, done, total))
            self._references[key] = self.run(asked, None)
            self.folder.append_reference(*self._references[key])
        return self._references[key]


def without_execution(trial: Trial, status: Status, reason: str, machine_key: str) -> Record:
    """The record of a trial that left nothing itself: impossible here, or stopped. A row, never a missing one."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Record(
        trial=trial,
        status=status,
        reason=reason,
        phase=Phase.PLAN,
        environment=machine_key,
        started_at=now,
        ended_at=now,
        command=repeat_command(trial),
    )


def repeat_command(trial: Trial) -> str:
    """What a person types to run the one trial again."""
    return f"harness rerun {trial.id}"
