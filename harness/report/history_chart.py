"""A history as a picture: a point per commit with its interval, the levels between changes, and the changes marked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.history import Change, Series
from harness.analyse.quantity import SPACE, count
from harness.report.comparison import percent
from harness.report.figures import Sketch
from harness.report.history_text import day, interval, named, relative, sentence, short
from harness.report.picture import HEIGHT, MORE, WIDTH, Padding, Picture, Values, field, more, raw, scaled
from harness.report.plane import Domain, Label, Plane, write
from harness.report.text import clip
from harness.report.text_width import width

if TYPE_CHECKING:
    import altair as alt

POINTS_AT_MOST = 400
"""Points that are drawn, the newest; the table holds all."""
COLOURS = {
    "to be confirmed": "var(--s5)",
    "regression": "var(--bad)",
    "improvement": "var(--good)",
    "not confirmed": "var(--muted)",
}
LABEL_ROOM = 92
"""Pixels between two commits named on the axis."""
CONTROL_SHOWN = 2.0
"""The control's line is drawn where no point is further from it than that many ranges of the points."""
BEYOND = 1.5
"""Intervals that reach further than that many ranges of the points are cut off at the edge of the plot."""


def history_sketch(series: Series, id_: str) -> Sketch:
    """The figure of a series."""
    more = len(series.points) - POINTS_AT_MOST
    cut = f" The newest {POINTS_AT_MOST} of {len(series.points):,}; the table holds all." if more > 0 else ""
    better = "down is better" if _lower_is_better(series) else "up is better"
    return Sketch(
        id_,
        f"{series.metric} against the control",
        "Each point is a version against the control of its own session, with its 95 % interval; "
        f"{better}. Lines: the level between changes.{cut}",
        lambda picture: history_picture(series, picture),
        [sentence(series, change) for change in series.changes] or ["No change is shown"],
        "There is no point to draw.",
    )


def _lower_is_better(series: Series) -> bool:
    from harness.schema.metrics import metric

    return metric(series.metric).better != "higher"


def history_picture(series: Series, picture: Picture) -> Markup | None:
    """Ratios over versions in their order; None where there is no point."""
    first = max(0, len(series.points) - POINTS_AT_MOST)
    if not series.points:
        return None
    padding = Padding(52, 16, 30, 40)
    plane = Plane(
        WIDTH - padding.left - padding.right, HEIGHT,
        (first - 0.7, len(series.points) - 0.3), _reach(series, first),
    )  # fmt: skip
    x, y = _commits_axis(series, first, plane), _ratio_axis(series, plane.y)
    control = [{"y": 0}] if plane.y[0] < 0 < plane.y[1] else []
    rule = picture.layer("rule", control, {"color": "var(--muted)", "strokeDash": [3, 3]}, y=y)
    marks = _marks(series, first, picture, plane)
    ends = {"y": field("low:Q"), "y2": field("high:Q")}
    bars = picture.layer("rule", [mark | {"about": mark["bare"]} for mark in marks], BAR, x=x, **ends)
    dots = picture.layer("point", marks, {"size": 40, "filled": True}, x=field("x:Q"), y=field("y:Q"), fill=raw("fill"))
    changes = [change for change in series.changes if change.at > first]
    layers = [rule, *_changed(changes, picture), bars, _levels(series, first, picture), dots]
    return picture.draw([*layers, *write(picture, _named(changes, plane))], plane.width, plane.height, padding)


BAR = {"strokeWidth": 1.25, "color": "var(--accent)", "strokeOpacity": 0.45}


def _reach(series: Series, first: int) -> Domain:
    """All points, and the control and intervals as far as they leave the points apart."""
    points = series.points[first:]
    middles = [more(point.ratio) for point in points]
    if min(map(abs, middles)) <= CONTROL_SHOWN * (max(middles) - min(middles)) or len(points) == 1:
        middles.append(0.0)
    low, high = min(middles), max(middles)
    most = BEYOND * (high - low)
    ends = [more(end) for point in points for end in (point.low, point.high) if end is not None]
    low, high = (
        min([low, *(max(end, low - most) for end in ends)]),
        max([high, *(min(end, high + most) for end in ends)]),
    )
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def _ratio_axis(series: Series, domain: Domain) -> dict[str, Any]:
    """In per cent more than the control; of another cell as the factor."""
    label = MORE
    if series.source == "runs":
        label = "format(1 + datum.value / 100, '.4~f') + '×'"
    return scaled("y", domain, None, tickCount=5, labelExpr=label)


def _commits_axis(series: Series, first: int, plane: Plane) -> dict[str, Any]:
    """Some commits named, evenly; the last one always."""
    shown = len(series.points) - first
    most = max(1, min(shown, int(plane.width // LABEL_ROOM)))
    numbers = sorted({len(series.points) - 1 - round(step * (shown - 1) / max(1, most - 1)) for step in range(most)})
    names = [short(series.points[number].name)[:8] for number in numbers]
    label = f"{json.dumps(names)}[indexof({json.dumps(numbers)}, datum.value)]"
    return scaled("x", plane.x, "version, oldest first", values=numbers, grid=False, labelExpr=label)


def _marks(series: Series, first: int, picture: Picture, plane: Plane) -> Values:
    marks = []
    for number, point in enumerate(series.points[first:], start=first):
        middle = more(point.ratio)
        who = ", ".join(filter(None, (named(point), day(point), clip(point.subject, 60))))
        said = f"{who}: {relative(series, point.ratio)}"
        said += f", 95{SPACE}%: {interval(series, point)}" if point.low is not None else ""
        marks.append({
            "x": number,
            "y": middle,
            "low": max(plane.y[0], more(point.low)) if point.low is not None else middle,
            "high": min(plane.y[1], more(point.high)) if point.high is not None else middle,
            "fill": "var(--muted)" if point.dirty else "var(--accent)",
            "about": picture.about([], f"{said}, {count(point.rounds, 'round')}"),
            "bare": picture.about([]),
        })  # fmt: skip
    return marks


def _levels(series: Series, first: int, picture: Picture) -> alt.Chart:
    """A line per stretch between changes, at the median of its points."""
    edges = [0, *(change.at for change in series.changes), len(series.points)]
    values = []
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        if end <= first:
            continue
        level = _level(series, number)
        about = picture.about([], f"level of {count(end - begin, 'version')}: {relative(series, level)}")
        values.append({"x": max(begin, first) - 0.5, "to": end - 0.5, "y": more(level), "about": about})
    ends = {"x": field("x:Q"), "x2": field("to:Q"), "y": field("y:Q")}
    return picture.layer("rule", values, {"color": "var(--ink)", "strokeWidth": 1.75}, **ends)


def _level(series: Series, number: int) -> float:
    """The level of a stretch, by its number."""
    if not series.changes:
        return series.level
    return series.changes[number - 1].after if number else series.changes[0].before


def _changed(changes: Sequence[Change], picture: Picture) -> list[alt.Chart]:
    if not changes:
        return []
    values = [
        {"x": change.at - 0.5, "colour": COLOURS[change.standing], "about": picture.about([], change.standing)}
        for change in changes
    ]
    return [
        picture.layer("rule", values, {"strokeWidth": 1.5, "strokeDash": [5, 3]}, x=field("x:Q"), stroke=raw("colour"))
    ]


def _named(changes: Sequence[Change], plane: Plane) -> list[Label]:
    """How much and what, above the plot at each change, as far as there is room."""
    labels: list[Label] = []
    taken = -1e9
    for change in changes:
        across, _up = plane.at(change.at - 0.5, 0.0)
        text = f"{percent(change.factor)} {change.standing}"
        long = width(text)
        left = min(across, plane.width - long)
        if left < taken:
            text, left = percent(change.factor), across
            long = width(text)
        if left < taken:
            continue
        labels.append(Label(left, -12, text, "left", "", COLOURS[change.standing]))
        taken = left + long + 8
    return labels
