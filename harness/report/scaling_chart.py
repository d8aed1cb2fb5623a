"""Scaling as a picture: efficiency over devices, strong and weak, each line named where it ends; and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.cells import SPEED
from harness.analyse.quantity import ABSENT, SPACE, between, count, digits, times
from harness.analyse.scaling import Family, Line, Point, Scaling, in_figures, in_percent, interval_in_percent, sentence
from harness.report.columns import Column
from harness.report.figures import Sketch
from harness.report.look import Look, shape
from harness.report.picture import HEIGHT, WIDTH, Padding, Picture, Values, field, pixels, raw, scaled
from harness.report.plane import LINE, Label, Plane, write
from harness.report.tables import Table, TableRow
from harness.report.text import clip
from harness.report.text_width import width

if TYPE_CHECKING:
    import altair as alt

LINES_AT_MOST = 16
"""Lines that are drawn; the table holds all."""
DASHES = {"strong": [1, 0], "weak": [5, 3]}
Named = tuple[Scaling, Line, str]
BESIDE, BESIDE_ALL = 5.0, 30.0
"""Pixels between lines on the same devices, so that their intervals do not hide one another, and most of them all."""


def scaling_sketch(family: Family, id_: str) -> Sketch:
    """The figure of a family."""
    more = len(family.known) - LINES_AT_MOST
    cut = f" {LINES_AT_MOST} of {len(family.known)} lines; the table holds all." if more > 0 else ""
    return Sketch(
        id_,
        f"{family.label}: speed kept per device",
        "Throughput per device in per cent of the baseline's, with its 95 % interval; 100 is ideal. Solid: strong "
        f"scaling, the batch stays; dashed: weak scaling, the batch per device stays.{cut}",
        lambda picture: efficiency_lines(family, picture),
        [sentence(each).rstrip(".") for each in family.scalings],
        "No efficiency can be drawn: it takes the baseline and a cell on other devices that ended well in the same "
        "round.",
    )


def efficiency_lines(family: Family, picture: Picture) -> Markup | None:
    """Efficiency over devices on a logarithmic axis, the ideal at 100 %; None where nothing is known."""
    named = [(each, line, family.name(each, line)) for each, line in family.known[:LINES_AT_MOST]]
    if not named:
        return None
    texts = [_end_text(name, line, 22) for _each, line, name in named]
    padding = Padding(44, 14 + max(map(width, texts)), 12, 40)
    plane = _plane(named, WIDTH - padding.left - padding.right, HEIGHT)
    counts = sorted({point.devices for each, line, _name in named for point in _drawn(each, line)})
    x = scaled("x", plane.x, "devices", {"type": "log"}, values=counts, grid=False, format="d")
    y = scaled("y", plane.y, None, tickCount=5, labelExpr=f"datum.label + '{SPACE}%'")
    ideal = picture.layer("rule", [{"y": 100}], {"color": "var(--good)", "strokeWidth": 1.5}, y=y)
    lines = [
        point | {"x": _beside(plane, point["x"], number, named)}
        for number, (each, line, _name) in enumerate(named)
        for point in _line_points(picture, each, line)
    ]
    dashes = {"shorthand": "kind:N", "scale": {"domain": list(DASHES), "range": list(DASHES.values())}, "legend": None}
    channels = {"detail": field("line:N"), "order": field("x:Q"), "stroke": raw("colour"), "strokeDash": dashes}
    drawn = picture.layer("line", lines, {"strokeWidth": 1.75}, x=x, y=field("y:Q"), **channels)
    points = [
        mark | {"x": _beside(plane, mark["x"], number, named), "high": min(mark["high"], plane.y[1])}
        for number, (each, line, name) in enumerate(named)
        for mark in _marks(picture, each, line, name)
    ]
    reach = {"y": field("low:Q"), "y2": field("high:Q"), "stroke": raw("colour")}
    intervals = picture.layer("rule", [point | {"about": point["bare"]} for point in points], x=field("x:Q"), **reach)
    dots = picture.layer(
        "point", points, {"size": 56, "filled": True},
        x=field("x:Q"), y=field("y:Q"), fill=raw("colour"), shape=raw("shape"),
    )  # fmt: skip
    return picture.draw(
        [ideal, drawn, intervals, dots, *_names(named, texts, picture, plane)], plane.width, plane.height, padding
    )


def _drawn(each: Scaling, line: Line) -> list[Point]:
    """The line's points, the baseline's first where it has fewer devices."""
    known = line.known
    return [each.start, *known] if each.start and each.start.devices < known[0].devices else known


def _percent(point: Point) -> float:
    return 100 * point.share if point.efficiency else 100.0


def _beside(plane: Plane, devices: int, number: int, named: Sequence[Named]) -> float:
    """Where the line's point on so many devices is drawn: the baseline's where it is, others side by side."""
    if all(each.start is not None and each.start.devices == devices for each, _line, _name in named):
        return devices
    apart_by = min(BESIDE, BESIDE_ALL / len(named))
    share = (number - (len(named) - 1) / 2) * apart_by / plane.width
    return devices * math.exp(share * math.log(plane.x[1] / plane.x[0]))


def _plane(named: Sequence[Named], across: float, height: float) -> Plane:
    """From 0 to the highest end of an interval that is not absurdly far, devices with room at both ends."""
    points = [point for each, line, _name in named for point in _drawn(each, line)]
    highest = max(100.0, *(_percent(point) for point in points))
    above = [100 * point.efficiency.high for point in points if point.efficiency and point.efficiency.high is not None]
    high = max([highest, *(end for end in above if end <= 1.5 * highest)])
    devices = [point.devices for point in points]
    room = (max(devices) / min(devices)) ** 0.06
    return Plane(across, height, (min(devices) / room, max(devices) * room), (0.0, high * 1.06))


def _line_points(picture: Picture, each: Scaling, line: Line) -> Values:
    first = line.points[0].cell
    same = {
        "line": f"{each.group.number} {line.label}",
        "kind": each.kind,
        "colour": picture.look.colour(first.strategy),
        "about": picture.about([first.cell]),
    }
    return [{"x": point.devices, "y": _percent(point), **same} for point in _drawn(each, line)]


def _marks(picture: Picture, each: Scaling, line: Line, name: str) -> Values:
    marks = []
    for point in _drawn(each, line):
        cell, ratio, middle = point.cell, point.efficiency, _percent(point)
        told = in_figures(point) or f"the baseline, {point.cell.label}"
        marks.append({
            "x": point.devices,
            "y": middle,
            "low": 100 * ratio.low if ratio and ratio.low is not None else middle,
            "high": 100 * ratio.high if ratio and ratio.high is not None else middle,
            "colour": picture.look.colour(cell.strategy),
            "shape": shape(point.cell.precision),
            "about": picture.about([cell.cell], f"{name}, {count(point.devices, 'device')}: {told}"),
            "bare": picture.about([cell.cell]),
        })  # fmt: skip
    return marks


def _end_text(name: str, line: Line, length: int) -> str:
    return f"{clip(name, length)} {in_percent(line.known[-1].share)}{SPACE}%"


def _names(named: Sequence[Named], texts: Sequence[str], picture: Picture, plane: Plane) -> list[alt.Chart]:
    """A name right of each line's end, moved apart where ends are near one another, with a thin line to its end."""
    labels, leaders = [], []
    ends = [
        plane.at_log(_beside(plane, line.known[-1].devices, number, named), _percent(line.known[-1]))
        for number, (_each, line, _name) in enumerate(named)
    ]
    left = plane.width + 10
    for (_each, line, _name), text, (x, y), moved in zip(
        named, texts, ends, apart([y for _x, y in ends], LINE + 1, plane.height), strict=True
    ):
        cell = line.points[0].cell
        labels.append(
            Label(left, moved, text, "left", picture.look.css([cell.cell]), picture.look.colour(cell.strategy))
        )
        about = picture.about([cell.cell])
        leaders.append({"x": x + 5, "to": left - 2, "y": y, "end": moved, "about": about})
    ends_at = {"x": pixels("x"), "x2": field("to:Q"), "y": pixels("y"), "y2": field("end:Q")}
    style = {"color": "var(--muted)", "strokeWidth": 0.7}
    return [picture.layer("rule", leaders, style, **ends_at), *write(picture, labels)]


def apart(wanted: Sequence[float], least: float, most: float) -> list[float]:
    """Positions near those wanted, in the same order along the axis, at least so far apart, between 0 and `most`.

    Where they do not all fit, they lie evenly from 0 to `most`.
    """
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    least = min(least, most / max(1, len(wanted) - 1)) if len(wanted) > 1 else least
    placed: dict[int, float] = {}
    below = -least
    for number in order:
        below = max(wanted[number], below + least)
        placed[number] = below
    above = most + least
    for number in reversed(order):
        above = min(placed[number], above - least)
        placed[number] = max(0.0, above)
    return [placed[number] for number in range(len(wanted))]


def scaling_table(families: Sequence[Family], look: Look, id_: str) -> Table:
    """Every cell of every scaling, fewest devices first, with how it ended where it has no figure."""
    columns = (
        Column("cells", number=False),
        Column("scaling", number=False, means="and what does not change with the devices"),
        Column("devices"),
        Column("samples", "per step"),
        Column("throughput", "samples/s"),
        Column("speed-up", "×", "throughput ÷ the baseline's, mean over rounds"),
        Column("interval", "95 %", "two-sided t interval over rounds", number=False),
        Column("efficiency", "%", "speed-up ÷ (devices ÷ the baseline's devices)"),
        Column("interval", "95 %", number=False),
        Column("rounds", "ok of all", number=False),
    )
    rows = [
        _row(family, each, label, point, look)
        for family in families
        for each in family.scalings
        for label, point in [
            *([(each.start.cell.main, each.start)] if each.start else []),
            *((line.label, point) for line in each.lines for point in line.points),
        ]
    ]
    return Table(id_, "Scaling: every cell against one device", columns, rows)


def _row(family: Family, each: Scaling, label: str, point: Point, look: Look) -> TableRow:
    cell, ratio, share = point.cell, point.speed_up, point.efficiency
    base = each.start is point
    speed: Any = cell.metrics.get(SPEED)
    texts = (
        f"{family.label} {label}",
        f"{each.kind}, {each.fixed}",
        str(point.devices),
        f"{point.batch:,}",
        ABSENT if speed is None else digits(speed, 4),
        "1" if base else times(ratio.value)[:-1] if ratio else point.why_not,
        (between(ratio.low, ratio.high) if ratio else "") or ABSENT,
        "100" if base else in_percent(share.value) if share else ABSENT,
        (interval_in_percent(share) if share else "") or ABSENT,
        f"{cell.ok} of {cell.rounds}",
    )
    off = "off" if cell.status == "UNSUPPORTED" else "bad"
    return TableRow(texts, look.css([cell.cell]), off if not cell.ok else "base" if base else "ok")
