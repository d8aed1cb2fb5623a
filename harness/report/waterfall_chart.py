"""Step-time waterfalls: stairs from the baseline's step to each cell's, a tread for each part of the step."""

from __future__ import annotations

from markupsafe import Markup

from harness.analyse.cells import Cell
from harness.analyse.quantity import duration, listed
from harness.analyse.study import Group
from harness.analyse.waterfall import Waterfall, waterfall
from harness.report.look import CHANGES
from harness.report.picture import Picture, Values, field, pixels, raw, scaled
from harness.report.plane import widened
from harness.report.rows import Row, draw_rows, shown_cells, upright, y_of

MS = 1e-3
TREAD = 4.3
"""Height of a tread in pixels: five of them fit into a row."""


def waterfalls(group: Group) -> dict[str, Waterfall]:
    """By cell: its step explained by the baseline's; empty where the baseline's parts are not known."""
    baseline = group.baseline
    if baseline is None:
        return {}
    found = {cell.cell: waterfall(baseline.metrics, cell.metrics) for cell in group.ranking if cell is not baseline}
    return {cell: each for cell, each in found.items() if each is not None}


def step_changes(group: Group, picture: Picture) -> Markup | None:
    """The stairs of every cell in its row, from a line at the baseline's step; None where there is none."""
    known = waterfalls(group)
    rows = [Row(cell, in_words(known[cell.cell])) for cell in shown_cells(group) if cell.cell in known]
    if not rows:
        return None
    shown, y = [(row.cell, known[row.cell.cell]) for row in rows], y_of(rows)
    ends = [end / MS for _cell, each in shown for end in (each.start, *(change.after for change in each.changes))]
    x = scaled("from", widened(ends, 0.06), "milliseconds per step; dashed: the baseline's", tickCount=5)
    across = {"y": pixels("top"), "y2": field("bottom:Q")}
    start = upright(picture, len(rows), shown[0][1].start / MS, "var(--muted)", x, dashed=True)
    treads = [tread for cell, each in shown for tread in _treads(picture, cell, each, y[cell.cell])]
    bars = picture.layer("rect", treads, x=x, x2=field("to:Q"), fill=raw("fill"), **across)
    risers = [_riser(tread) for tread in treads if tread["riser"]]
    style = {"color": "var(--muted)", "strokeWidth": 0.8}
    lines = picture.layer("rule", risers, style, x=field("from:Q"), **across)
    lasts = [_end(picture, cell, each, y[cell.cell]) for cell, each in shown]
    end = picture.layer("rule", lasts, {"color": "var(--ink)", "strokeWidth": 1.75}, x=field("from:Q"), **across)
    return draw_rows(picture, rows, [start, lines, bars, end])


def _treads(picture: Picture, cell: Cell, each: Waterfall, middle: float) -> Values:
    """One bar per part, each one lower than the last, and a thin line down to the next."""
    treads = []
    for number, change in enumerate(each.changes):
        name, colour = CHANGES[change.part]
        top = middle + (number - len(each.changes) / 2) * TREAD
        treads.append({
            "from": min(change.before, change.after) / MS,
            "to": max(change.before, change.after) / MS,
            "at": change.after / MS,
            "top": top,
            "bottom": top + TREAD - 0.6,
            "fill": colour,
            "riser": number + 1 < len(each.changes),
            "about": picture.about([cell.cell], f"{name} {signed(change.difference)}"),
        })  # fmt: skip
    return treads


def _riser(tread: dict[str, float]) -> dict[str, float]:
    return {"from": tread["at"], "top": tread["top"], "bottom": tread["bottom"] + TREAD}


def _end(picture: Picture, cell: Cell, each: Waterfall, middle: float) -> dict[str, object]:
    reach = (len(each.changes) / 2) * TREAD + 1
    about = picture.about([cell.cell], f"a step {in_words(each)}")
    return {"from": each.end / MS, "top": middle - reach, "bottom": middle + reach, "about": about}


def signed(seconds: float) -> str:
    """`+1.2 ms`, `−850 µs`, `±0`."""
    return f"{'+' if seconds > 0 else '−'}{duration(abs(seconds))}" if seconds else "±0"


def in_words(each: Waterfall) -> str:
    """`26.1 ms (−15.9 ms)`: the cell's step, and what it takes more (+) or less (−) than the baseline's."""
    return f"{duration(each.end)} ({signed(each.difference)})"


def described(group: Group) -> list[str]:
    """Each cell's changes in words, for those who do not see the picture."""
    known = waterfalls(group)
    return [
        f"{cell.label} {in_words(known[cell.cell])}: {listed(_changes(known[cell.cell]))}"
        for cell in group.ranking
        if cell.cell in known
    ]


def _changes(each: Waterfall) -> list[str]:
    return [f"{CHANGES[change.part][0]} {signed(change.difference)}" for change in each.changes]
