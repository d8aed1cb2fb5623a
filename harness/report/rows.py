"""Charts with a row per cell share this frame: the label beside the row, or above it where the page is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.cells import Cell
from harness.analyse.study import Group
from harness.report.picture import Layout, Padding, Picture, Values, field, pixels
from harness.report.text import clip

if TYPE_CHECKING:
    import altair as alt

ROWS_AT_MOST = 24
STYLES: dict[str, dict[str, Any]] = {
    "main": {"align": "left", "fontSize": 12},
    "small": {"align": "left", "fontSize": 10, "color": "var(--muted)"},
    "value": {"align": "right", "fontSize": 11.5},
    "bad": {"align": "right", "fontSize": 11.5, "color": "var(--bad)"},
    "off": {"align": "right", "fontSize": 11.5, "color": "var(--muted)"},
}


@dataclass(frozen=True)
class Row:
    """A cell with what stands at its right. tone: `value`, `bad` or `off`."""

    cell: Cell
    value: str
    tone: str = "value"


def shown_cells(group: Group) -> list[Cell]:
    """Cells that get a row: the fastest, the baseline among them, then those without a figure; no more than 24."""
    shown = group.order[:ROWS_AT_MOST]
    baseline = group.baseline
    if baseline is not None and baseline not in shown:
        shown[-1] = baseline
    return shown


def plot_width(layout: Layout) -> float:
    """Width of the plot of a chart with rows."""
    return layout.width - _padding(layout).left - _padding(layout).right


def y_of(rows: Sequence[Row], layout: Layout) -> dict[str, float]:
    """By cell: height of its mark below the plot's top."""
    mark = 27 if layout.above else layout.row / 2
    return {row.cell.cell: number * layout.row + mark for number, row in enumerate(rows)}


def draw_rows(picture: Picture, rows: Sequence[Row], layers: Sequence[alt.Chart]) -> Markup:
    """Draw layers, whose y are those of `y_of`, with hairlines between the rows and labels beside or above them."""
    layout = picture.layout
    whole = [_separators(picture, len(rows)), *layers, *_labels(picture, rows)]
    return picture.draw(whole, plot_width(layout), len(rows) * layout.row, _padding(layout))


def _padding(layout: Layout) -> Padding:
    return Padding(layout.label or 8, layout.value or 8, 4, 40)


def _edges(layout: Layout) -> tuple[float, float]:
    """Pixels of the picture's left and right edge, from the left of the plot."""
    return -_padding(layout).left, plot_width(layout) + _padding(layout).right


def _separators(picture: Picture, rows: int) -> alt.Chart:
    layout = picture.layout
    left, right = _edges(layout)
    ends = {"x": left, "to": right}
    lines = [{"y": number * layout.row, **ends} for number in range(1, rows)]
    style = {"color": "var(--grid)", "strokeWidth": 0.8}
    return picture.layer("rule", lines, style, y=pixels("y"), x=pixels("x"), x2=field("to:Q"))


def _labels(picture: Picture, rows: Sequence[Row]) -> list[alt.Chart]:
    texts = [text for number, row in enumerate(rows) for text in _texts(picture, row, number * picture.layout.row)]
    return [
        picture.layer("text", own, style, x=pixels("x"), y=pixels("y"), text=field("text:N"))
        for tone, style in STYLES.items()
        if (own := [text for text in texts if text["tone"] == tone])
    ]


def _texts(picture: Picture, row: Row, top: float) -> Values:
    """What is written at a row: in two lines at its left, or in one line above it."""
    layout, main = picture.layout, clip(row.cell.main, 28)
    middle = top + (9 if layout.above else layout.row / 2)
    shift = 6.5 if row.cell.options and not layout.above else 0
    left, right = _edges(layout)
    beside = left + 7.3 * len(main) + 8 if layout.above else left
    written = [
        ("main", left, middle - shift, main),
        ("small", beside, middle + shift, clip(row.cell.options, 27 if layout.above else 32)),
        (row.tone, right, middle, clip(row.value, 34)),
    ]
    about = picture.about([row.cell.strategy])
    return [{"tone": tone, "x": x, "y": y, "text": text, "about": about} for tone, x, y, text in written if text]
