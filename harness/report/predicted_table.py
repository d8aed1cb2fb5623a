"""Table of the page: memory of each cell by kind, as predicted and as measured."""

from __future__ import annotations

from harness.analyse.predicted import compared, ratio_text
from harness.analyse.quantity import ABSENT, digits
from harness.analyse.study import Group
from harness.report.columns import MIB, Column
from harness.report.look import Look
from harness.report.tables import Table, TableRow
from harness.schema.metrics import METRICS


def predicted_table(group: Group, look: Look, id_: str) -> Table | None:
    """A row per cell and kind; None where no cell has a prediction and what was measured."""
    columns = (
        Column("cell", number=False),
        Column("kind", number=False),
        Column("predicted", "MiB", METRICS["predicted_peak_bytes"].definition),
        Column("measured", "MiB", METRICS["peak_allocated_bytes"].definition),
        Column("ratio", "measured ÷ predicted"),
    )
    rows = [
        TableRow(
            (cell.label, each.kind, digits(each.predicted / MIB), digits(each.measured / MIB),
             ratio_text(each.ratio) or ABSENT),
            look.css([cell.cell]),
            "base" if cell.is_baseline else "ok",
        )
        for cell in group.order
        for each in compared(cell)
    ]  # fmt: skip
    caption = f"Memory of every cell of {group.label} by kind, predicted and measured"
    return Table(id_, caption, columns, rows) if rows else None
