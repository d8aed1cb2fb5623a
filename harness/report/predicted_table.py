"""Table of the page: memory of each cell by kind, as predicted and as measured."""

from __future__ import annotations

from harness.analyse.cells import MEMORY, Cell
from harness.analyse.predicted import NAMES, Compared, compared
from harness.analyse.quantity import ABSENT, digits, times
from harness.analyse.study import Group
from harness.report.columns import MIB, Column
from harness.report.look import Look
from harness.report.tables import Table, TableRow
from harness.report.text import clip

PEAK = NAMES[MEMORY]
BOTH = "predicted / measured (ratio) where they differ"
LEAST = 1024
"""Bytes of a difference that is worth two figures."""


def predicted_table(group: Group, look: Look, id_: str) -> Table | None:
    """A row per cell, the peak and each kind as predicted and as measured; None where no cell has both."""
    known = {cell.cell: {each.kind: each for each in compared(cell)} for cell in group.order}
    there = {kind for kinds in known.values() for kind in kinds}
    if not there:
        return None
    kinds = [kind for kind in dict.fromkeys((PEAK, *NAMES.values())) if kind in there]
    columns = (Column("cell", number=False), *(Column(kind, "MiB") for kind in kinds))
    rows = [
        _row(cell, [known[cell.cell].get(kind) for kind in kinds], look) for cell in group.order if known[cell.cell]
    ]
    return Table(id_, f"Memory by kind of every cell of {clip(group.label, 40)}: {BOTH}", columns, rows)


def _row(cell: Cell, kinds: list[Compared | None], look: Look) -> TableRow:
    texts = (cell.label, *(ABSENT if each is None else _figures(each) for each in kinds))
    return TableRow(texts, look.css([cell.cell]), "base" if cell.is_baseline else "ok")


def _figures(each: Compared) -> str:
    """`6.79`; `6.79 / 9.51 (1.40×)`; `0 / 1.02` where nothing was predicted."""
    predicted, measured = digits(each.predicted / MIB), digits(each.measured / MIB)
    if predicted == measured or abs(each.predicted - each.measured) < LEAST:
        return predicted
    ratio = "" if each.ratio is None else f" ({times(each.ratio)})"
    return f"{predicted} / {measured}{ratio}"
