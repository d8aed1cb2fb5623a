"""A table for the terminal that leaves out columns where there is no room for all, the least needed first."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

NAME_CELLS = 20
"""The first column, which says what a row is of, is cut to that much before another one is left out."""
UNBOUNDED = 10_000


class Fitted:
    """Draws a table. optional: heads of columns in the order in which they may go."""

    def __init__(self, table: Table, optional: Sequence[str]):
        self._table, self._optional = table, optional

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table, names = self._table, _names(self._table)
        for head in self._optional:
            if _figures(table, console, options) + min(names, NAME_CELLS) <= options.max_width:
                break
            table = _without(table, head)
        first, *rest = table.columns
        room = max(1, options.max_width - _figures(table, console, options))
        drawn = copy.copy(table)
        drawn.columns = [replace(first, max_width=room), *rest]  # rich would shorten all columns alike
        yield drawn


def _names(table: Table) -> int:
    return max((cell_len(str(text)) for text in (table.columns[0].header, *table.columns[0].cells)), default=0)


def _figures(table: Table, console: Console, options: ConsoleOptions) -> int:
    """Width of everything but the names of the rows."""
    return Measurement.get(console, options.update(max_width=UNBOUNDED), table).maximum - _names(table)


def _without(table: Table, head: str) -> Table:
    """The same without the columns of this head."""
    found = copy.copy(table)
    found.columns = [column for column in table.columns if str(column.header) != head]
    return found
