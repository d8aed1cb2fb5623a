"""Throughput against memory, with the Pareto front and the device's capacity."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from harness.analyse.cells import MEMORY, Cell
from harness.analyse.quantity import rate, size, times
from harness.analyse.study import Group
from harness.report.look import shape
from harness.report.picture import WIDTH, Padding, Picture, field, raw, scaled
from harness.report.plane import Anchor, Plane, place, widened, write
from harness.report.text import clip

if TYPE_CHECKING:
    import altair as alt

PADDING = Padding(50, 14, 10, 40)
LABELS_AT_MOST = 40


@dataclass(frozen=True)
class Axes:
    """What the axes show. unit, bytes: of memory; rate, work: metric and unit of throughput."""

    unit: str
    bytes: float
    rate: str
    work: str

    def of(self, cell: Cell) -> tuple[float, float]:
        """Memory and throughput of a cell."""
        return cell.metrics[MEMORY] / self.bytes, cell.metrics[self.rate]


def scatter(group: Group, picture: Picture, height: float, capacity: float | None) -> Markup | None:
    """Throughput against peak memory: up and left is better. None where fewer than two cells have both.

    capacity: bytes of the device; drawn where it is not far from what was used.
    """
    cells = group.with_metric(MEMORY)
    if len(cells) < 2:
        return None
    largest = max(cell.metrics[MEMORY] for cell in cells)
    axes = Axes(*(("GiB", 2**30) if largest >= 10 * 2**30 else ("MiB", 2**20)), group.rate, group.unit)
    limit = [capacity / axes.bytes] if capacity is not None and capacity <= 3 * largest else []
    used, rates = zip(*(axes.of(cell) for cell in cells), strict=True)
    width = WIDTH - PADDING.left - PADDING.right
    plane = Plane(width, height, widened([*used, *limit], 0.12), widened(rates, 0.1))
    front = sorted((cell for cell in cells if cell.cell in group.front), key=lambda cell: cell.metrics[MEMORY])
    layers = [_front(front, picture, plane, axes), *(_capacity(picture, at, axes) for at in limit)]
    layers += [_points(group, cells, picture, axes), *_labels(cells, front, picture, plane, axes)]
    return picture.draw(layers, plane.width, plane.height, PADDING)


def _front(front: list[Cell], picture: Picture, plane: Plane, axes: Axes) -> alt.Chart:
    """The front as steps: what can be had at most in so much memory."""
    steps = [dict(zip("xy", axes.of(cell), strict=True)) for cell in front]
    x = scaled("x", plane.x, f"peak memory of tensors on a device, {axes.unit}", tickCount=5)
    y = scaled("y", plane.y, None, format="~s", tickCount=5)
    style = {"interpolate": "step-after", "color": "var(--muted)", "strokeDash": [4, 3], "strokeWidth": 1.25}
    return picture.layer("line", steps, style, x=x, y=y)


def _capacity(picture: Picture, at: float, axes: Axes) -> alt.Chart:
    values = [{"x": at, "about": picture.about([], f"memory of the device: {size(at * axes.bytes)}")}]
    return picture.layer("rule", values, {"color": "var(--bad)", "strokeWidth": 1.5}, x=field("x:Q"))


def _points(group: Group, cells: list[Cell], picture: Picture, axes: Axes) -> alt.Chart:
    values = []
    for cell in cells:
        on_front, colour = cell.cell in group.front, picture.look.colour(cell.strategy)
        fill = colour if on_front else "var(--page)"
        about = picture.about([cell.cell], _tooltip(cell, on_front, axes))
        x, y = axes.of(cell)
        values.append({"x": x, "y": y, "colour": colour, "fill": fill, "shape": shape(cell.precision), "about": about})
    channels = {"fill": raw("fill"), "stroke": raw("colour"), "shape": raw("shape")}
    return picture.layer("point", values, {"size": 80, "strokeWidth": 2}, x=field("x:Q"), y=field("y:Q"), **channels)


def _tooltip(cell: Cell, on_front: bool, axes: Axes) -> str:
    against = f", {times(cell.speed)} the baseline's speed" if cell.speed is not None and not cell.is_baseline else ""
    figures = f"{rate(cell.metrics[axes.rate], axes.work)}{against}, {size(cell.metrics[MEMORY])}"
    return f"{cell.label}: {figures}{', on the front' if on_front else ''}"


def _labels(cells: list[Cell], front: list[Cell], picture: Picture, plane: Plane, axes: Axes) -> list[alt.Chart]:
    """Names at the points, those of the front first, then the baseline's."""
    rest = [cell for cell in cells if cell.cell not in {on_it.cell for on_it in front}]
    order = [*front, *sorted(rest, key=lambda cell: not cell.is_baseline)][:LABELS_AT_MOST]
    anchors = [
        Anchor(
            *plane.at(*axes.of(cell)),
            (clip(cell.label, 44), clip(cell.label, 26), clip(cell.main, 20) + (" …" if cell.options else "")),
            picture.look.css([cell.cell]),
        )
        for cell in order
    ]
    corners = [plane.at(*axes.of(cell)) for cell in front]
    points = [plane.at(*axes.of(cell)) for cell in cells]
    return write(picture, place(anchors, [*points, *_along(corners)], plane))


def _along(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points every few pixels along the steps of the front, which labels must not cover."""
    points = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        points += [(float(across), y) for across in np.arange(x + 10, next_x, 8)]
        points += [(next_x, float(up)) for up in np.arange(next_y + 10, y, 8)]
    return points
