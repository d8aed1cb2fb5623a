"""Charts with a row per cell share this frame: label and value in a line above marks of the whole width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from markupsafe import Markup

from harness.analyse.cells import Cell
from harness.analyse.study import Group
from harness.report.picture import WIDTH, Padding, Picture, Style, Values, field, pixels
from harness.report.text import clip
from harness.report.text_width import fitted, width

if TYPE_CHECKING:
    import altair as alt

ROWS_AT_MOST = 24
ROW = 42.0
"""Pixels from one row to the next, and from a row's top to the middle of its text and of its marks."""
TEXT, MARK = 9.0, 28.0
REACH = 12.0
"""Pixels from the middle of a row's marks to the ends of an upright line through them."""
PADDING = Padding(8, 8, 4, 40)
PLOT = WIDTH - PADDING.left - PADDING.right
"""Width of the plot."""
SIZE = {"main": 12.0, "small": 10.5, "value": 11.5}
"""Pixels of the font of these texts."""
STYLES: dict[str, dict[str, Any]] = {
    "main": {"align": "left", "fontSize": SIZE["main"]},
    "small": {"align": "left", "fontSize": SIZE["small"], "color": "var(--muted)"},
    "value": {"align": "right", "fontSize": SIZE["value"]},
    "bad": {"align": "right", "fontSize": SIZE["value"], "color": "var(--bad)"},
    "off": {"align": "right", "fontSize": SIZE["value"], "color": "var(--muted)"},
}
GAP = 8.0
"""Pixels at least between two texts of a line."""


class Labelled(Protocol):
    """What a row is of."""

    @property
    def cell(self) -> str:
        """Its hash."""

    @property
    def main(self) -> str:
        """The first part of its name."""

    @property
    def options(self) -> str:
        """The second part, which stands smaller beside the first."""


Of = TypeVar("Of", bound=Labelled)


@dataclass(frozen=True)
class Row(Generic[Of]):
    """A cell with what stands at its right. tone: `value`, `bad` or `off`."""

    cell: Of
    value: str
    tone: str = "value"


def shown_cells(group: Group) -> list[Cell]:
    """Cells that get a row: the fastest, the baseline among them, then those that failed; no more than 24.

    What cannot run here has no row: the answer and the table say so.
    """
    shown = [cell for cell in group.order if cell.status != "UNSUPPORTED"][:ROWS_AT_MOST]
    baseline = group.baseline
    if baseline is not None and baseline not in shown:
        shown[-1] = baseline
    return shown


def y_of(rows: Sequence[Row[Any]]) -> dict[str, float]:
    """By cell: height of its mark below the plot's top."""
    return {row.cell.cell: number * ROW + MARK for number, row in enumerate(rows)}


def draw_rows(picture: Picture, rows: Sequence[Row[Any]], layers: Sequence[alt.Chart]) -> Markup:
    """Draw layers, whose y are those of `y_of`, with hairlines between the rows and labels above them."""
    whole = [_separators(picture, len(rows)), *layers, *_labels(picture, rows)]
    return picture.draw(whole, PLOT, len(rows) * ROW, PADDING)


def upright(
    picture: Picture, rows: int, value: float, colour: str, x: Style, *, dashed: bool = False, say: str = ""
) -> alt.Chart:
    """A value that all rows are held against: an upright line through their marks, open where their texts stand."""
    about = {"about": picture.about([], say)} if say else {}  # what says nothing is drawn as one path
    pieces = [
        {"at": value, "top": number * ROW + MARK - REACH, "bottom": number * ROW + MARK + REACH} | about
        for number in range(rows)
    ]
    style = {"color": colour, "strokeWidth": 1.25, "strokeDash": [3, 3] if dashed else [1, 0]}
    return picture.layer("rule", pieces, style, x={**x, "shorthand": "at:Q"}, y=pixels("top"), y2=field("bottom:Q"))


def _separators(picture: Picture, rows: int) -> alt.Chart:
    lines = [{"y": number * ROW, "x": -PADDING.left, "to": PLOT + PADDING.right} for number in range(1, rows)]
    style = {"color": "var(--grid)", "strokeWidth": 0.8}
    return picture.layer("rule", lines, style, y=pixels("y"), x=pixels("x"), x2=field("to:Q"))


def _labels(picture: Picture, rows: Sequence[Row[Any]]) -> list[alt.Chart]:
    texts = [text for number, row in enumerate(rows) for text in _texts(picture, row, number * ROW + TEXT)]
    return [
        picture.layer("text", own, style, x=pixels("x"), y=pixels("y"), text=field("text:N"))
        for tone, style in STYLES.items()
        if (own := [text for text in texts if text["tone"] == tone])
    ]


def _texts(picture: Picture, row: Row[Any], y: float) -> Values:
    """What is written in the line above a row's marks: names, options in what room is left, the value at the right."""
    left, right, value = -PADDING.left, PLOT + PADDING.right, clip(row.value, 34)
    until = right - width(value, SIZE["value"]) - GAP
    main = fitted(row.cell.main, until - left, SIZE["main"])
    beside = left + width(main, SIZE["main"]) + GAP
    written = [
        ("main", left, main),
        ("small", beside, fitted(row.cell.options, until - beside, SIZE["small"])),
        (row.tone, right, value),
    ]
    about = picture.about([row.cell.cell])
    return [{"tone": tone, "x": x, "y": y, "text": text, "about": about} for tone, x, text in written if text]
