"""What charts of learning share: the lines of target and of no learning, names where lines end, a domain cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.analyse.learning import Learning
from harness.analyse.quantity import digits
from harness.report.family_look import DASHES, Drawn
from harness.report.picture import Picture, Style, field, pixels
from harness.report.plane import LINE, Domain, Label, Plane, write
from harness.report.scaling_chart import apart
from harness.report.text import clip
from harness.report.text_width import width

if TYPE_CHECKING:
    import altair as alt

NEAR = 0.35
"""Target and trivial baselines are drawn where the axis need not grow by more than this share of itself for them."""


NAME_ROOM = 142.0
"""Pixels at most of a name right of the plot."""
IDLE = "no learning: "
Level = tuple[str, float, str]


def levels(found: Learning) -> list[Level]:
    """Name, value and colour of each line that the values are held against: the target, and no learning."""
    target = [("target", found.target, "var(--good)")] if found.target is not None else []
    idle = ((f"{IDLE}{name.replace('_', ' ')}", value, "var(--muted)") for name, value in found.trivial.items())
    return [*target, *idle]


def cut(found: Learning, values: Sequence[float]) -> Domain:
    """The domain of values, not beyond what is worse than every predictor that learned nothing.

    Without such predictors: not beyond four times as far from the best as the median is.
    """
    best, worst = (max(values), min(values)) if found.higher else (min(values), max(values))
    middle = sorted(values)[len(values) // 2]
    trivial = (min if found.higher else max)(found.trivial.values(), default=best + 4 * (middle - best))
    end = (max if found.higher else min)(worst, trivial) if trivial != best else worst
    return (end, best) if found.higher else (best, end)


def with_levels(found: Learning, domain: Domain) -> tuple[Domain, list[Level]]:
    """The domain with room at both ends, grown for the lines that are near it; and those lines."""
    low, high = domain
    span = (high - low) or abs(high) * 0.1 or 1.0
    near = [level for level in levels(found) if low - NEAR * span <= level[1] <= high + NEAR * span]
    low, high = min([low, *(value for _n, value, _c in near)]), max([high, *(value for _n, value, _c in near)])
    room = 0.06 * (high - low or span)
    return (low - room, high + room), near


def level_layers(
    picture: Picture, plane: Plane, near: Sequence[Level], y: Style, lines: Sequence[Sequence[Domain]]
) -> list[alt.Chart]:
    """Thin lines across the plot, each with its name and value where the lines (points in pixels) leave room."""
    layers, labels = [], []
    taken = [point for line in lines for point in along(line)]
    for name, value, colour in near:
        about = picture.about([], f"{name} {digits(value)}")
        style = {"color": colour, "strokeWidth": 1.25, "strokeDash": [2, 3] if name != "target" else [1, 0]}
        layers.append(picture.layer("rule", [{"y": value, "about": about}], style, y=y))
        text = clip(f"{name.removeprefix(IDLE)} {digits(value)}", 34)
        others = [plane.at(plane.x[0], other)[1] for _name, other, _colour in near if other != value]
        crossed = [(float(px), py) for py in others for px in range(0, int(plane.width), 4)]
        x, at = _spot(plane, plane.at(plane.x[0], value)[1], width(text), [*taken, *crossed])
        taken += [(x + part, at) for part in range(int(width(text)))]  # no label lies on another
        labels.append(Label(x, at, text, "left", "", colour if name == "target" else "var(--muted)"))
    return [*layers, *write(picture, labels)]


def _spot(plane: Plane, level: float, long: float, taken: Sequence[Domain]) -> tuple[float, float]:
    """Left end and height of a label above or below its line: where it hits least, the further left the better."""
    lefts = [4 + share * (plane.width - long - 8) for share in (0, 1, 0.5, 0.25, 0.75)]
    spots = [(x, level + up) for up in (-8, 9) for x in lefts if -4 < level + up < plane.height - 4]

    def hits(spot: tuple[float, float]) -> int:
        x, y = spot
        return sum(x - 4 <= px <= x + long + 4 and abs(py - y) <= LINE / 2 + 2 for px, py in taken)

    return min(spots, key=hits, default=(4.0, level - 8))


def along(points: Sequence[Domain]) -> list[Domain]:
    """Points every few pixels along a line through points in pixels."""
    found = list(points[:1])
    for (x, y), (next_x, next_y) in pairwise(points):
        steps = max(1, int(math.hypot(next_x - x, next_y - y) / 5))
        found += [(x + (next_x - x) * at / steps, y + (next_y - y) * at / steps) for at in range(1, steps + 1)]
    return found


def end_names(
    picture: Picture, plane: Plane, names: Sequence[Drawn], ends: Sequence[tuple[float, float]], texts: Sequence[str]
) -> list[alt.Chart]:
    """A name right of each line's end (pixels), moved apart where ends are near one another, with a thin line to it."""
    labels, leaders = [], []
    moved = apart([y for _x, y in ends], LINE + 1, plane.height)
    left = plane.width + 10
    for each, text, (x, y), to in zip(names, texts, ends, moved, strict=True):
        labels.append(Label(left, to, text, "left", picture.look.css([each.cell]), each.colour))
        leaders.append({"x": x + 5, "to": left - 2, "y": y, "end": to, "about": picture.about([each.cell])})
    across = {"x": pixels("x"), "x2": field("to:Q"), "y": pixels("y"), "y2": field("end:Q")}
    return [
        picture.layer("rule", leaders, {"color": "var(--muted)", "strokeWidth": 0.7}, **across),
        *write(picture, labels),
    ]


def band_opacity(bands: int) -> float:
    """How opaque bands over seeds are: the more there are, the less, so that they stay apart where they overlap."""
    return 0.2 if bands <= 2 else max(0.07, 0.36 / bands)


def dashes() -> Style:
    """The channel of dashes: a field `dash` that holds the number of the pattern."""
    return {
        "shorthand": "dash:N",
        "scale": {"domain": [str(number) for number in range(len(DASHES))], "range": list(DASHES)},
        "legend": None,
    }


def same(each: Drawn, picture: Picture, text: str = "") -> dict[str, Any]:
    """What all marks of a family have: its name, hue, dashes, and what they say."""
    number = str(DASHES.index(each.dash))
    about = picture.about([each.cell], text)
    return {"line": each.family.label, "colour": each.colour, "dash": number, "about": about}


def rates_around(rates: Sequence[float]) -> Domain:
    """Learning rates with room at both ends of a logarithmic axis."""
    low, high = min(rates), max(rates)
    room = (high / low) ** 0.06 if high > low else 2.0
    return low / room, high * room


def clamp(value: float, domain: Domain) -> float:
    """The value, or the end of the domain that it lies beyond."""
    return min(max(value, domain[0]), domain[1]) if math.isfinite(value) else domain[1]
