"""Charts of sums: what a step's time and a device's memory are made of, with the total that was measured on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.analyse.cells import MEMORY, Cell
from harness.analyse.quantity import duration, size
from harness.analyse.study import Group
from harness.report.look import KINDS, PARTS
from harness.report.picture import Picture, Values, field, pixels, raw, scaled
from harness.report.rows import Row, draw_rows, shown_cells, y_of

THICK = 13
PREDICTED = "predicted_peak_bytes"
MARK = {"shape": "triangle-up", "size": 34, "filled": True, "fill": "var(--ink)"}


@dataclass(frozen=True)
class Sum:
    """A total and its parts. parts: metric → name and colour; scale: of the axis; say: a figure in words."""

    total: str
    name: str
    parts: Mapping[str, tuple[str, str]]
    scale: float
    axis: str
    say: Callable[[float], str]
    predicted: str = ""
    """metric of the total as it was predicted; empty: it is not"""

    def of(self, cell: Cell) -> float:
        """Sum of the parts that the cell has."""
        return sum(cell.metrics.get(part, 0.0) for part in self.parts)

    def in_words(self, cell: Cell) -> str:
        """`41.5 ms (+504 µs)`: the total, and how much more (+) or less (−) it is than the sum of its parts."""
        parts, whole = self.of(cell), cell.metrics.get(self.total)
        if whole is None:
            return self.say(parts)
        if abs(parts - whole) < 0.005 * whole:
            return self.say(whole)
        return f"{self.say(whole)} ({'−' if parts > whole else '+'}{self.say(abs(whole - parts))})"


def step_parts(group: Group, picture: Picture) -> Markup | None:
    """Parts of a step as stacked bars, beside a line at step_s of the timed window."""
    return _stacked(group, picture, Sum("step_s", "step", PARTS, 1e-3, "milliseconds per step", duration))


def memory_kinds(group: Group, picture: Picture) -> Markup | None:
    """Peak bytes of tensors by kind as stacked bars; the whole peak alone where kinds were not counted."""
    counted = any(kind in cell.metrics for cell in group.ranking for kind in KINDS)
    parts = KINDS if counted else {MEMORY: ("peak of tensors", "var(--k3)")}
    return _stacked(group, picture, Sum(MEMORY, "peak", parts, 2**20, "MiB on a device", size, PREDICTED))


def _stacked(group: Group, picture: Picture, total: Sum) -> Markup | None:
    """Bars of parts put end to end, and a line at the total."""
    rows = [Row(cell, total.in_words(cell)) for cell in shown_cells(group) if cell.ok and total.of(cell) > 0]
    if not rows:
        return None
    y = y_of(rows)
    bars = [bar for row in rows for bar in _bars(picture, row.cell, total, y[row.cell.cell])]
    lines = [_line(picture, row.cell, total, y[row.cell.cell]) for row in rows if total.total in row.cell.metrics]
    marks = [_mark(picture, row.cell, total, y[row.cell.cell]) for row in rows if total.predicted in row.cell.metrics]
    high = max(*(bar["to"] for bar in bars), *(line["at"] for line in (*lines, *marks)), 0.0) * 1.02
    x = scaled("from", (0, high), total.axis, tickCount=5)
    style = {"stroke": "var(--page)", "strokeWidth": 0.8}
    across = {"y": pixels("top"), "y2": field("bottom:Q")}
    stacked = picture.layer("rect", bars, style, x=x, x2=field("to:Q"), fill=raw("fill"), **across)
    line = picture.layer("rule", lines, {"color": "var(--ink)", "strokeWidth": 1.5}, x=field("at:Q"), **across)
    point = picture.layer("point", marks, MARK, x=field("at:Q"), y=pixels("y"))
    return draw_rows(picture, rows, [stacked, line, *([point] if marks else [])])


def _bars(picture: Picture, cell: Cell, total: Sum, middle: float) -> Values:
    start, bars = 0.0, []
    for metric, (name, colour) in total.parts.items():
        value = cell.metrics.get(metric, 0.0)
        if value > 0:
            about = picture.about([cell.cell], f"{name} {total.say(value)}")
            ends = {"from": start / total.scale, "to": (start + value) / total.scale}
            bars.append(ends | _across(middle, THICK) | {"fill": colour, "about": about})
            start += value
    return bars


def _line(picture: Picture, cell: Cell, total: Sum, middle: float) -> dict[str, Any]:
    value = cell.metrics[total.total]
    predicted = cell.metrics.get(total.predicted)
    beside = f", predicted {total.say(predicted)}" if predicted is not None else ""
    about = picture.about([cell.cell], f"{total.name} {total.say(value)}{beside}")
    return {"at": value / total.scale, "about": about} | _across(middle, THICK + 6)


def _mark(picture: Picture, cell: Cell, total: Sum, middle: float) -> dict[str, Any]:
    """Where the total was predicted to be: a triangle under the bar that points at it. The line says its value."""
    value = cell.metrics[total.predicted]
    return {"at": value / total.scale, "y": middle + THICK / 2 + 4, "about": picture.about([cell.cell])}


def _across(middle: float, thick: float) -> dict[str, Any]:
    return {"top": middle - thick / 2, "bottom": middle + thick / 2}
