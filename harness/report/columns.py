"""Columns of tables, and those of a group's cells that only some suites and machines have figures for."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analyse.study import Group
from harness.schema.metrics import METRICS

MIB = 2**20


@dataclass(frozen=True)
class Column:
    """A column: title, unit written under it, what it means; number: figures, right-aligned and sorted as such."""

    title: str
    unit: str = ""
    means: str = ""
    number: bool = True


MEASURES: tuple[tuple[Column, str, float], ...] = (
    (Column("MFU", "% measured", METRICS["mfu_measured"].definition), "mfu_measured", 1e-2),
    (Column("MFU", "% datasheet", METRICS["mfu"].definition), "mfu", 1e-2),
    (Column("payload", "MiB/step", METRICS["communicated_bytes"].definition), "communicated_bytes", MIB),
    (Column("exposed", "ms/step", METRICS["comm_exposed_s"].definition), "comm_exposed_s", 1e-3),
)
"""Columns of a group's table that are there where any of its cells has the figure: it, its metric and its unit."""


def measures(group: Group) -> list[tuple[Column, str, float]]:
    """The columns that the group has figures for."""
    return [known for known in MEASURES if any(known[1] in cell.metrics for cell in group.cells)]
