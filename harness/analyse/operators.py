"""Operators of traced cells: which take most of a step's time, and what they took in the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.analyse.frame import trials_frame
from harness.run.store import TRACES, traces_name
from harness.run.stored import StoredRun
from harness.schema.record import Record, Status


@dataclass(frozen=True)
class Operator:
    """One operator. calls and self_s are per step; self_s: its time without that of operators inside it."""

    name: str
    calls: float
    self_s: float


@dataclass(frozen=True)
class Traced:
    """A cell's trace, of rank 0. clock: `cpu` or `device`; self_s: of all operators per step; operators: most first."""

    group: str
    label: str
    is_baseline: bool
    record: Record
    clock: str
    self_s: float
    operators: tuple[Operator, ...] = field(default=())

    @property
    def cell(self) -> str:
        """Hash of the cell that was traced, as it is measured."""
        return self.record.trial.measured_cell

    @property
    def folder(self) -> str:
        """Folder of its files, in the run folder."""
        files = list(self.record.artifacts.values())
        return files[0].rpartition("/")[0] if files else f"{TRACES}/{traces_name(self.record.trial)}"

    def took(self, name: str) -> float | None:
        """Seconds per step of an operator; None where it is not among those that were kept."""
        return next((each.self_s for each in self.operators if each.name == name), None)


def traced_cells(run: StoredRun) -> list[Traced]:
    """Cells whose trace ended well, in stored order; older records without operators have none here."""
    records = [record for record in run.records if record.trial.kind == "trace" and record.status is Status.OK]
    measured = [_as_measured(record) for record in records]
    rows = trials_frame(replace(run, records=measured)).to_dict("records")
    return [_traced(row, record) for row, record in zip(rows, records, strict=True)]


def _as_measured(record: Record) -> Record:
    """The record as one of the cell that is measured, so that it is named and grouped as that one is."""
    return record.model_copy(update={"trial": record.trial.model_copy(update={"kind": "measure"})})


def _traced(row: Mapping[Any, Any], record: Record) -> Traced:
    facts = record.per_rank[0].facts.get("trace") if record.per_rank else None
    facts = facts if isinstance(facts, dict) else {}
    return Traced(
        group=str(row["group_label"]),
        label=str(row["label"]),
        is_baseline=bool(row["is_baseline"]),
        record=record,
        clock=str(facts.get("clock", "cpu")),
        self_s=_number(facts.get("self_s")),
        operators=tuple(_operators(facts.get("operators"))),
    )


def _operators(found: object) -> list[Operator]:
    """As the rank noted them; what is not of that form is left out."""
    known = [each for each in found if isinstance(each, dict) and "name" in each] if isinstance(found, list) else []
    return [Operator(str(each["name"]), _number(each.get("calls")), _number(each.get("self_s"))) for each in known]


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def baseline_of(cell: Traced, cells: list[Traced]) -> Traced | None:
    """The traced baseline of the cell's group; None for itself, and where it has no trace."""
    if cell.is_baseline:
        return None
    return next((each for each in cells if each.is_baseline and each.group == cell.group), None)
