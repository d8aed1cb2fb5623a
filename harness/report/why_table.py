"""Table of the page: why each cell's step is shorter or longer than the baseline's, in figures, with its traces."""

from __future__ import annotations

from pathlib import Path

from harness.analyse.cells import Cell
from harness.analyse.quantity import ABSENT, digits
from harness.analyse.study import Group, Study
from harness.analyse.traces import traces_of
from harness.analyse.waterfall import Waterfall
from harness.report.columns import Column
from harness.report.kept_files import KeptFile, kept_files
from harness.report.look import CHANGES, Look
from harness.report.tables import Table, TableRow
from harness.report.waterfall_chart import MS, waterfalls
from harness.schema.metrics import METRICS

EXPOSED = "comm_exposed_s"


def why_table(study: Study, group: Group, look: Look, id_: str, page: Path | None) -> Table | None:
    """A row per cell, the baseline with its own parts; None where neither parts nor traces are known.

    page: the folder of the page, for links to traces.
    """
    known, traces = waterfalls(group), traces_of(study.run)
    files = {cell.cell: kept_files(study.run, traces[cell.cell], page) for cell in group.cells if cell.cell in traces}
    if not known and not any(files.values()):
        return None
    parts = list(dict.fromkeys(change.part for each in known.values() for change in each.changes))
    exposed = any(EXPOSED in cell.metrics for cell in group.cells)
    columns = (
        Column("cell", number=False),
        Column("step", "ms", METRICS["step_s"].definition),
        Column("difference", "ms", "the cell's step − the baseline's"),
        *(Column(CHANGES[part][0], "ms", "more (+) or less (−) than in the baseline's step") for part in parts),
        *([Column("exposed communication", "ms", METRICS[EXPOSED].definition)] if exposed else []),
        *([Column("traces", "", "for Perfetto or chrome://tracing", number=False)] if any(files.values()) else []),
    )
    rows = [
        _row(cell, known.get(cell.cell), parts, exposed, files.get(cell.cell, ()), look)
        for cell in group.order
        if cell.ok
    ]
    return Table(id_, f"Step time of every cell of {group.label}, part by part", columns, rows)


def _row(
    cell: Cell, found: Waterfall | None, parts: list[str], exposed: bool, files: tuple[KeptFile, ...], look: Look
) -> TableRow:
    differences = {change.part: change.difference for change in found.changes} if found else {}
    texts = (
        cell.label,
        _ms(cell.metrics.get("step_s")),
        signed_ms(found.difference) if found else ABSENT,
        *(signed_ms(differences[part]) if part in differences else ABSENT for part in parts),
        *([_ms(cell.metrics.get(EXPOSED))] if exposed else []),
    )
    return TableRow(texts, look.css([cell.cell]), "base" if cell.is_baseline else "ok", files)


def _ms(seconds: float | None) -> str:
    return ABSENT if seconds is None else digits(seconds / MS)


def signed_ms(seconds: float) -> str:
    """`+1.2`, `-0.85`, `0`: with the hyphen that a table's sorting reads as a sign."""
    text = digits(abs(seconds) / MS)
    return text if seconds == 0 else f"{'+' if seconds > 0 else '-'}{text}"
