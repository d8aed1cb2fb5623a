"""A plot with two linear axes, and labels written straight onto it: nobody looks from a legend to a line and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.picture import Picture, field, pixels, raw
from harness.report.svg import description
from harness.report.text_width import width
from harness.report.thin import Floats, Places, thinned

if TYPE_CHECKING:
    import altair as alt

LINE = 12.5
Domain = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Plane:
    """Sizes in pixels and domains of a plot, so that labels can be placed before anything is drawn."""

    width: float
    height: float
    x: Domain
    y: Domain

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point, from the top left of the plot."""
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return across * self.width, (1 - up) * self.height

    def at_log(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point where the horizontal axis is logarithmic."""
        ends = (math.log(self.x[0]), math.log(self.x[1]))
        return Plane(self.width, self.height, ends, self.y).at(math.log(x), y)

    def seen(self, x: Floats, y: Floats, most: int) -> Places:
        """Which points of a curve must be drawn for it to look as it is, at most so many."""
        across, up = self.width / (self.x[1] - self.x[0]), self.height / (self.y[1] - self.y[0])
        return thinned(x * across, y * up, most)


@dataclass(frozen=True)
class Anchor:
    """Where a label belongs, in pixels of the plot. texts: the first that fits is written; classes: for the filter."""

    x: float
    y: float
    texts: tuple[str, ...]
    classes: str
    colour: str = "var(--ink)"


@dataclass(frozen=True)
class Label:
    """A label with its place: x, y are the middle of its left end (align left) or right end (align right)."""

    x: float
    y: float
    text: str
    align: str
    classes: str
    colour: str


def widened(values: Sequence[float], share: float) -> Domain:
    """The range of values with room at both ends."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - room, high + room


def place(
    anchors: Sequence[Anchor], obstacles: Iterable[tuple[float, float]], plane: Plane, reach: Sequence[float] = (13,)
) -> list[Label]:
    """Put each label right, left, above or below its anchor where it hits no point, no other label and no edge.

    anchors: the most important first; reach: pixels above and below the anchor that are tried, one after the other.
    A label that fits nowhere is left out: its mark has a tooltip, and its figures stand in the table.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in obstacles]
    placed = []
    for anchor in anchors:
        for label, box in _candidates(anchor, reach):
            inside = box[0] >= 0 and box[2] <= plane.width and box[1] >= 0 and box[3] <= plane.height
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                placed.append(label)
                break
    return placed


def _candidates(anchor: Anchor, reach: Sequence[float]) -> Iterable[tuple[Label, Box]]:
    """Places for a label, the best first: a shorter text near its anchor is better than a longer one far away."""
    for away in reach:
        for text in anchor.texts:
            long = width(text)
            for x, y, align in _sides(anchor, long, away, beside=away == reach[0]):
                start = x if align == "left" else x - long
                box = (start, y - LINE / 2, start + long, y + LINE / 2)
                yield Label(x, y, text, align, anchor.classes, anchor.colour), box


def _sides(anchor: Anchor, long: float, away: float, *, beside: bool) -> list[tuple[float, float, str]]:
    x, y = anchor.x, anchor.y
    sides = [(x + 9, y, "left"), (x - 9, y, "right")] if beside else []
    for up in (-away, away):
        sides += [(x - long / 2, y + up, "left"), (x + 5, y + up, "left"), (x - 5, y + up, "right")]
    return sides


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def write(picture: Picture, labels: Sequence[Label]) -> list[alt.Chart]:
    """Layers that write labels."""
    layers = []
    for align in ("left", "right"):
        values = [_text(label) for label in labels if label.align == align]
        if values:
            channels = {"x": pixels("x"), "y": pixels("y"), "text": field("text:N"), "color": raw("colour")}
            layers.append(picture.layer("text", values, {"align": align}, **channels))
    return layers


def _text(label: Label) -> dict[str, Any]:
    about = description(label.classes, "")
    return {"x": label.x, "y": label.y, "text": label.text, "colour": label.colour, "about": about}
