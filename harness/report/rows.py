"""Charts with a row per cell share this frame: label and value in a line above marks of the whole width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.cells import Cell
from harness.analyse.study import Group
from harness.report.picture import WIDTH, Padding, Picture, Values, field, pixels
from harness.report.text import clip

if TYPE_CHECKING:
    import altair as alt

ROWS_AT_MOST = 24
ROW = 42.0
"""Pixels from one row to the next, and from a row's top to the middle of its text and of its marks."""
TEXT, MARK = 9.0, 28.0
PADDING = Padding(8, 8, 4, 40)
PLOT = WIDTH - PADDING.left - PADDING.right
"""Width of the plot."""
STYLES: dict[str, dict[str, Any]] = {
    "main": {"align": "left", "fontSize": 12},
    "small": {"align": "left", "fontSize": 10, "color": "var(--muted)"},
    "value": {"align": "right", "fontSize": 11.5},
    "bad": {"align": "right", "fontSize": 11.5, "color": "var(--bad)"},
    "off": {"align": "right", "fontSize": 11.5, "color": "var(--muted)"},
}
MAIN_CHARACTER, SMALL_CHARACTER, VALUE_CHARACTER = 7.3, 5.9, 6.6
"""Pixels of a character of these texts in a wide system font: estimates on the safe side."""


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


def y_of(rows: Sequence[Row]) -> dict[str, float]:
    """By cell: height of its mark below the plot's top."""
    return {row.cell.cell: number * ROW + MARK for number, row in enumerate(rows)}


def draw_rows(picture: Picture, rows: Sequence[Row], layers: Sequence[alt.Chart]) -> Markup:
    """Draw layers, whose y are those of `y_of`, with hairlines between the rows and labels above them."""
    whole = [_separators(picture, len(rows)), *layers, *_labels(picture, rows)]
    return picture.draw(whole, PLOT, len(rows) * ROW, PADDING)


def _separators(picture: Picture, rows: int) -> alt.Chart:
    lines = [{"y": number * ROW, "x": -PADDING.left, "to": PLOT + PADDING.right} for number in range(1, rows)]
    style = {"color": "var(--grid)", "strokeWidth": 0.8}
    return picture.layer("rule", lines, style, y=pixels("y"), x=pixels("x"), x2=field("to:Q"))


def _labels(picture: Picture, rows: Sequence[Row]) -> list[alt.Chart]:
    texts = [text for number, row in enumerate(rows) for text in _texts(picture, row, number * ROW + TEXT)]
    return [
        picture.layer("text", own, style, x=pixels("x"), y=pixels("y"), text=field("text:N"))
        for tone, style in STYLES.items()
        if (own := [text for text in texts if text["tone"] == tone])
    ]


def _texts(picture: Picture, row: Row, y: float) -> Values:
    """What is written in the line above a row's marks: names, options in what room is left, the value at the right."""
    main, value = clip(row.cell.main, 28), clip(row.value, 34)
    left, right = -PADDING.left, PLOT + PADDING.right
    beside = left + MAIN_CHARACTER * len(main) + 8
    room = int((right - VALUE_CHARACTER * len(value) - 8 - beside) / SMALL_CHARACTER)
    written = [
        ("main", left, main),
        ("small", beside, clip(row.cell.options, min(34, room)) if room >= 6 else ""),
        (row.tone, right, value),
    ]
    about = picture.about([row.cell.cell])
    return [{"tone": tone, "x": x, "y": y, "text": text, "about": about} for tone, x, text in written if text]
