"""Charts with a row per cell: forest plot of ratios, rounds as dots, held-out metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.answer import in_figures
from harness.analyse.cells import SPEED, Cell, round_names
from harness.analyse.headline import ended
from harness.analyse.quantity import count, digits, times
from harness.analyse.ratios import ranked
from harness.analyse.study import Group
from harness.report.look import shape
from harness.report.picture import Picture, Style, Values, field, pixels, raw, scaled
from harness.report.rows import PLOT, Row, draw_rows, shown_cells, upright, y_of

if TYPE_CHECKING:
    import altair as alt

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)
TICK_ROOM = 34
"""Pixels between two labels of a ratio axis."""
EDGE_ROOM = 10
"""Pixels from a label's middle to the end of the axis: half of the label may lie beyond it."""
Dots = Mapping[str, Sequence[tuple[str, float]]]
"""By cell: name of each round and its value."""


def forest(group: Group, picture: Picture) -> Markup | None:
    """Throughput of each cell against the baseline, with its interval; None where no cell has a ratio."""
    rows = [Row(cell, *_forest_value(cell)) for cell in shown_cells(group)]
    speeds = [row.cell.speed for row in rows if row.cell.speed is not None]
    if len(speeds) < 2:
        return None
    domain, y = _domain(speeds), y_of(rows)
    marks = [_forest_mark(picture, row.cell, domain, y) for row in rows if row.cell.speed is not None]
    plain = [mark | {"about": mark["bare"]} for mark in marks]
    style = {"strokeWidth": 2.5, "strokeCap": "round"}
    intervals = picture.layer(
        "rule", plain, style, x=field("low:Q"), x2=field("high:Q"), y=pixels("y"), stroke=raw("colour")
    )
    points = _points(picture, marks, field("x:Q"), outlined=True)
    one = _one(picture, len(rows), domain, "throughput ÷ baseline's")
    return draw_rows(picture, rows, [one, intervals, points])


def _forest_mark(picture: Picture, cell: Cell, domain: tuple[float, float], y: Mapping[str, float]) -> dict[str, Any]:
    """An interval that reaches beyond the axis is cut off there: its figures stand beside it."""
    speed, colour = cell.speed or 1.0, picture.look.colour(cell.strategy)
    low = cell.ratio.low if cell.ratio and cell.ratio.low is not None else speed
    high = cell.ratio.high if cell.ratio and cell.ratio.high is not None else speed
    return {
        "x": speed,
        "low": max(domain[0], low),
        "high": min(domain[1], high),
        "y": y[cell.cell],
        "colour": colour,
        "fill": colour if cell.shown or cell.is_baseline else "var(--page)",
        "shape": shape(cell.precision),
        "about": picture.about([cell.cell], _forest_tooltip(cell)),
        "bare": picture.about([cell.cell]),
    }


def _forest_value(cell: Cell) -> tuple[str, str]:
    if not cell.ok:
        return ended(cell), "off" if cell.status == "UNSUPPORTED" else "bad"
    return ("baseline", "off") if cell.is_baseline else (in_figures(cell) or "no ratio", "value")


def _forest_tooltip(cell: Cell) -> str:
    if cell.ratio is None:
        return f"{cell.label}: the baseline"
    return f"{cell.label}: {in_figures(cell)}, {count(cell.ratio.rounds, 'round')}, {cell.verdict}"


def rounds(group: Group, picture: Picture) -> Markup | None:
    """Each round of each cell as a dot: its throughput over the baseline's of the same round.

    The baseline's own dots are its rounds over their mean: how much the machine changed between rounds.
    """
    dots = per_round(group)
    rows = [Row(cell, *_verdict(cell)) for cell in shown_cells(group) if cell.cell in dots]
    if len(rows) < 2:
        return None
    domain = _domain(ratio for row in rows for _name, ratio in dots[row.cell.cell])
    points = _points(picture, _dots(picture, rows, dots, times), field("x:Q"))
    one = _one(picture, len(rows), domain, "throughput ÷ baseline's, same round")
    return draw_rows(picture, rows, [one, points])


def per_round(group: Group) -> dict[str, list[tuple[str, float]]]:
    """By cell: name of each round and its ratio; the baseline's rounds over their geometric mean."""
    baseline, members = group.baseline, ranked(group.trials)
    if baseline is None or baseline.speed is None:
        return {}
    keys = zip(members["cell"], members["seed"], members["repeat"], strict=True)
    names = dict(zip(zip(members["seed"], members["repeat"], strict=True), round_names(members), strict=True))
    rates = dict(zip(keys, members[SPEED].astype(float), strict=True))
    own = [math.log(rate) for (cell, _seed, _repeat), rate in rates.items() if cell == baseline.cell]
    mean = math.exp(sum(own) / len(own))
    found: dict[str, list[tuple[str, float]]] = {}
    for (cell, seed, repeat), rate in sorted(rates.items(), key=lambda item: item[0][1:]):
        against = mean if cell == baseline.cell else rates.get((baseline.cell, seed, repeat), math.nan)
        if rate / against > 0:
            found.setdefault(str(cell), []).append((names[seed, repeat], rate / against))
    return found


def _verdict(cell: Cell) -> tuple[str, str]:
    return ("baseline", "off") if cell.is_baseline else (cell.verdict, "value")


def held_out(group: Group, picture: Picture) -> Markup | None:
    """The held-out metric of each cell, a dot per round, and the target where it is near; None where there is none."""
    found = group.held_out
    if found is None:
        return None
    values, rows = found.values, [cell for cell in shown_cells(group) if cell.cell in found.rounds]
    shown = [Row(cell, digits(values[cell.cell], 4)) for cell in rows]
    every = [value for row in shown for _name, value in found.rounds[row.cell.cell]]
    target = _near(found.target, every)
    ends = [*every, *target]
    room = max((max(ends) - min(ends)) * 0.08, abs(max(ends)) * 0.005) or 1.0
    title = f"held-out {found.name} after {found.step} steps"
    x = scaled("x", (min(ends) - room, max(ends) + room), title, tickCount=4)
    lines = [upright(picture, len(shown), value, "var(--good)", x, say=f"target: {digits(value)}") for value in target]
    dots = _dots(picture, shown, found.rounds, lambda value: digits(value, 4))
    return draw_rows(picture, shown, [*lines, _points(picture, dots, x)])


def _near(target: float | None, values: Sequence[float]) -> list[float]:
    """The target, if drawing it leaves the values apart: no further off than three times their range."""
    room = (max(values) - min(values)) or abs(values[0]) * 0.05
    near = target is not None and min(abs(value - target) for value in values) <= 3 * room
    return [target] if near and target is not None else []


def _dots(picture: Picture, rows: Sequence[Row[Cell]], dots: Dots, say: Callable[[float], str]) -> Values:
    y = y_of(rows)
    return [
        {
            "x": value,
            "y": y[row.cell.cell],
            "fill": picture.look.colour(row.cell.strategy),
            "shape": shape(row.cell.precision),
            "about": picture.about([row.cell.cell], f"{name}: {say(value)}"),
        }
        for row in rows
        for name, value in dots[row.cell.cell]
    ]


def _points(picture: Picture, marks: Values, x: Style, *, outlined: bool = False) -> alt.Chart:
    style = {"size": 70, "strokeWidth": 2} if outlined else {"size": 46, "fillOpacity": 0.72, "filled": True}
    stroke = raw("colour") if outlined else None
    channels = {"x": x, "y": pixels("y"), "fill": raw("fill"), "shape": raw("shape")}
    return picture.layer("point", marks, style, **channels, **({"stroke": stroke} if stroke else {}))


def _one(picture: Picture, rows: int, domain: tuple[float, float], title: str) -> alt.Chart:
    """The line of no difference, and with it the axis of ratios."""
    ticks = _ticks(domain, PLOT)
    label = "format(datum.value, '~g') + '×'"
    x = scaled("x", domain, title, {"type": "log"}, values=ticks, labelExpr=label)
    return upright(picture, rows, 1.0, "var(--muted)", x, dashed=True)


def _ticks(domain: tuple[float, float], width: float) -> list[float]:
    """Round ratios with room for their labels; 1 is always among them."""
    scale = width / math.log(domain[1] / domain[0])
    kept: list[float] = [1]
    for tick in TICKS:
        clear = all(abs(math.log(tick / other)) * scale >= TICK_ROOM for other in kept)
        inside = all(abs(math.log(tick / end)) * scale >= EDGE_ROOM for end in domain)
        if domain[0] <= tick <= domain[1] and clear and inside:
            kept.append(tick)
    return sorted(kept)


def _domain(ratios: Iterable[float]) -> tuple[float, float]:
    """Ends of the axis: all ratios and 1, with room for intervals."""
    known = [*ratios, 1.0]
    room = max(1.12, (max(known) / min(known)) ** 0.08)
    return min(known) / room, max(known) * room
