"""What a run's traces say, a row per traced cell, for terminals and other programs."""

from __future__ import annotations

from harness.analyse.operators import traced_cells
from harness.run.stored import StoredRun
from harness.schema.record import Status

Row = dict[str, str | float | None]
FIGURES = {"communication ms": "comm_s", "exposed ms": "comm_exposed_s"}
"""Column → metric, shown in ms per step."""


def traced(run: StoredRun) -> list[Row]:
    """Cells that were traced, then those that failed or cannot run here with the reason, a row each."""
    rows: list[Row] = []
    for cell in traced_cells(run):
        known = {title: cell.record.metrics.get(name) for title, name in FIGURES.items()}
        row: Row = {"group": cell.group, "cell": cell.label, "status": cell.record.status.value}
        row |= {title: None if value is None else round(value * 1e3, 2) for title, value in known.items()}
        row["most time"] = cell.operators[0].name if cell.operators else None
        rows.append(row | {"trace": cell.folder})
    for record in run.records:
        if record.status is not Status.OK and record.trial.kind in ("trace", "measure"):
            label, reason = record.trial.label.removesuffix(" trace"), record.reason
            rows.append({"group": "", "cell": label, "status": record.status.value, "reason": reason})
    return rows
