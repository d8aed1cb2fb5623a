"""Traces: what a cell's trial under the profiler adds to its figures. Such a trial is never a row of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.analyse.cells import Cell
from harness.run.stored import StoredRun
from harness.schema.record import Record, Status

TRACED = ("comm_s", "comm_exposed_s")
"""Metrics that come from traces alone."""


def traces_of(run: StoredRun) -> dict[str, Record]:
    """By hash of the measured cell: the record of its trace, whether it ended well or not."""
    return {record.trial.measured_cell: record for record in run.records if record.trial.kind == "trace"}


def with_traces(cells: Sequence[Cell], traces: Mapping[str, Record]) -> list[Cell]:
    """The cells with the figures of their traces beside their own; those without figures of their own stay without."""
    return [_with(cell, traces.get(cell.cell)) for cell in cells]


def _with(cell: Cell, trace: Record | None) -> Cell:
    if trace is None or trace.status is not Status.OK or not cell.ok:
        return cell
    found = {name: trace.metrics[name] for name in TRACED if name in trace.metrics}
    return replace(cell, metrics=cell.metrics | found)


def untraced(run: StoredRun, cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
    """Cells that ended well and have no trace although the suite asks for one, each with the reason."""
    if not run.info.suite.get("budget", {}).get("trace"):
        return []
    traces = traces_of(run)
    missing = []
    for cell in cells:
        trace = traces.get(cell.cell)
        if cell.ok and (trace is None or trace.status is not Status.OK):
            why = f"{trace.status.value} {trace.reason or ''}".strip() if trace else "not reached"
            missing.append((cell, why))
    return missing
