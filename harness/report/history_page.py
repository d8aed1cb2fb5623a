"""The page of a history: what changed, then a picture and a table per series. One file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analyse.change_points import ARL, FIRST
from harness.analyse.history import Series
from harness.report.columns import Column
from harness.report.comparison import percent
from harness.report.document import rendered
from harness.report.figures import Figure
from harness.report.history_chart import history_sketch
from harness.report.history_text import (
    advice,
    brief,
    day,
    heading,
    interval,
    named,
    relative,
    short,
    shown,
    summary,
    too_few,
)
from harness.report.look import look_of
from harness.report.tables import Table, TableRow
from harness.report.whole_file import write_whole
from harness.schema.metrics import metric as definition_of

DRAWN_AT_MOST = 24
"""Series that get a picture, those with a change first; the tables hold all."""


@dataclass(frozen=True)
class View:
    """One series in the page. says: of each change what to know or do, and the command."""

    id: str
    series: Series
    place: str
    note: str
    says: list[tuple[str, str]]
    figure: Figure | None
    table: Table


def history_page(found: Sequence[Series], warnings: Sequence[str] = (), results: str = "results") -> str:
    """The whole page as HTML; series with a change first. found: of one metric, at least one."""
    chosen, rest = shown(found)
    order = sorted(chosen, key=lambda series: not series.changes)
    views = [_view(series, number, results) for number, series in enumerate(order)]
    return rendered(
        "history.html.j2",
        metric=definition_of(found[0].metric),
        summary=summary(chosen),
        says=[(view.id, brief(view.series, change)) for view in views for change in view.series.changes],
        warnings=[*warnings, *([rest] if rest else [])],
        views=views,
        arl=ARL,
        first=FIRST,
    )


def write_history(found: Sequence[Series], path: Path, warnings: Sequence[str] = (), results: str = "results") -> None:
    """Write the page so that at any moment either the old or the whole new one is there. Raises StoreError."""
    write_whole(path, history_page(found, warnings, results), "page")


def _view(series: Series, number: int, results: str) -> View:
    id_ = f"s{number}"
    figure = history_sketch(series, f"{id_}-figure").drawn(look_of(())) if number < DRAWN_AT_MOST else None
    advised = [(brief(series, change), *advice(series, change, results)) for change in series.changes]
    says = [(f"{what}. {text}{':' if command else '.'}", command) for what, text, command in advised]
    against = f"against commit {short(series.control)}" if series.source == "sessions" else f"against {series.control}"
    place = f"{against}, machine {series.machine}"
    return View(id_, series, place, too_few(series), says, figure, _table(series, f"{id_}-table"))


def _table(series: Series, id_: str) -> Table:
    """All points, the newest first."""
    columns = (
        Column("commit", number=False),
        Column("date", number=False),
        Column("against control"),
        Column("interval", "95 %", number=False),
        Column("rounds"),
        Column("what", number=False),
        Column("session or run", number=False),
    )
    marks = {change.at: change for change in series.changes}
    rows = []
    for number, point in reversed(list(enumerate(series.points))):
        change = marks.get(number)
        what = f"{percent(change.factor)} {change.standing}" if change else point.subject
        texts = (
            named(point),
            day(point),
            relative(series, point.ratio),
            interval(series, point),
            str(point.rounds),
            what,
            point.folder,
        )
        rows.append(TableRow(texts, "", "base" if change else "ok"))
    return Table(id_, heading(series), columns, rows)
