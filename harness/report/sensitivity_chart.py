"""How much the learning rate matters: the final held-out value of each recipe over its ladder of rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from harness.analyse.families import Rung, seeds_text
from harness.analyse.learned_answer import value_text
from harness.analyse.learning import Learning, at_rate
from harness.analyse.quantity import count
from harness.report.family_look import Drawn, drawn
from harness.report.learning_plane import (
    NAME_ROOM,
    band_opacity,
    clamp,
    cut,
    dashes,
    end_names,
    level_layers,
    rates_around,
    same,
    with_levels,
)
from harness.report.picture import HEIGHT, WIDTH, Padding, Picture, Values, field, raw, scaled
from harness.report.plane import Plane
from harness.report.text_width import fitted, width

BESIDE = 7.0
"""Pixels between marks at the edge that are of the same rate."""


def sensitivity(found: Learning, picture: Picture) -> Markup | None:
    """Final held-out value over the rate on a logarithmic axis, with the band over seeds; None without a ladder.

    Rungs that diverged, or ended beyond the axis, are marks at its worse edge.
    """
    lines = [each for each in drawn(found) if len(each.family.tried) > 1]
    if not lines:
        return None
    rungs = [rung for each in lines for rung in each.family.tried if not math.isnan(rung.lr)]
    near_best = cut(found, [rung.mean for rung in rungs if rung.known])
    domain, near = with_levels(found, near_best)
    texts = [fitted(each.family.short, NAME_ROOM) for each in lines]
    padding = Padding(44, 16 + max(map(width, texts)), 14, 40)
    across = WIDTH - padding.left - padding.right
    plane = Plane(across, HEIGHT, rates_around([rung.lr for rung in rungs]), domain)
    ticks = sorted({rung.lr for rung in rungs})
    x = scaled(
        "x", plane.x, "peak learning rate", {"type": "log"}, values=ticks, grid=False, format="~g", labelOverlap=True
    )
    y = scaled("y", plane.y, None, tickCount=5)
    layers = [
        _bands(lines, picture, plane, x, y),
        _lines(lines, picture, plane, x, y),
        *level_layers(picture, plane, near, y, [_pixels(each, plane) for each in lines]),
    ]
    layers += [_points(lines, picture, plane, found.higher), *_edge(lines, picture, plane, found.higher)]
    ends = [_pixels(each, plane)[-1] for each in lines]
    return picture.draw([*layers, *end_names(picture, plane, lines, ends, texts)], plane.width, plane.height, padding)


def told(each: Drawn, rung: Rung, higher: bool = False) -> str:
    """What a mark says: `adamw at lr 0.003: 1.52 [1.50, 1.54], 3 of 3 seeds, the best rate`."""
    value = f"{value_text(list(rung.finals.values()), higher)}, " if rung.known else ""
    lost = f", first at {min(rung.diverged, key=lambda one: one.step or 0).in_words}" if rung.diverged else ""
    best = f", the best rate{', the ' + each.family.edge + ' tried' if each.family.edge else ''}"
    mark = best if rung is each.best else ""
    return f"{each.family.label} at {at_rate(rung)}: {value}{seeds_text(rung)} seeds{lost}{mark}"


def _known(each: Drawn) -> list[Rung]:
    return [rung for rung in each.family.tried if rung.known and not math.isnan(rung.lr)]


def _bands(lines: Sequence[Drawn], picture: Picture, plane: Plane, x: Any, y: Any) -> Any:
    values: Values = [
        {"x": rung.lr, "y": clamp(rung.band[0], plane.y), "high": clamp(rung.band[1], plane.y), **same(each, picture)}
        for each in lines
        for rung in _known(each)
    ]
    channels = {"detail": field("line:N"), "fill": raw("colour")}
    return picture.layer(
        "area", values, {"fillOpacity": band_opacity(len(lines))}, x=x, y=y, y2=field("high:Q"), **channels
    )


def _lines(lines: Sequence[Drawn], picture: Picture, plane: Plane, x: Any, y: Any) -> Any:
    values: Values = [
        {"x": rung.lr, "y": clamp(rung.mean, plane.y), **same(each, picture)} for each in lines for rung in _known(each)
    ]
    channels = {"detail": field("line:N"), "order": field("x:Q"), "stroke": raw("colour"), "strokeDash": dashes()}
    return picture.layer("line", values, {"strokeWidth": 1.75}, x=x, y=y, **channels)


def _points(lines: Sequence[Drawn], picture: Picture, plane: Plane, higher: bool) -> Any:
    values: Values = []
    for each in lines:
        for rung in _known(each):
            if plane.y[0] <= rung.mean <= plane.y[1]:
                best = rung is each.best
                size, fill = (130, each.colour) if best else (34, "var(--page)")
                mark = {"x": rung.lr, "y": rung.mean, "size": size, "fill": fill, "shape": each.symbol}
                values.append(mark | same(each, picture, told(each, rung, higher)))
    sized = {"shorthand": "size:Q", "scale": None, "legend": None}
    channels = {"fill": raw("fill"), "stroke": raw("colour"), "shape": raw("shape"), "size": sized}
    return picture.layer("point", values, {"strokeWidth": 1.75}, x=field("x:Q"), y=field("y:Q"), **channels)


def _edge(lines: Sequence[Drawn], picture: Picture, plane: Plane, higher: bool) -> list[Any]:
    """Crosses for rungs with seeds that diverged, arrows for those beyond the axis, side by side at the worse edge."""
    at_edge = 0.0 if not higher else plane.height
    marks: dict[float, Values] = {}
    for each in lines:
        for rung in each.family.tried:
            beyond = rung.known and not plane.y[0] <= rung.mean <= plane.y[1]
            if (rung.diverged or beyond) and not math.isnan(rung.lr):
                pointing = "triangle-down" if higher else "triangle-up"
                own: dict[str, Any] = {"shape": "cross" if rung.diverged else pointing} | same(
                    each, picture, told(each, rung, higher)
                )
                marks.setdefault(rung.lr, []).append(own)
    values: Values = []
    for lr, beside in marks.items():
        left = plane.at_log(lr, plane.y[0])[0] - (len(beside) - 1) * BESIDE
        values += [mark | {"px": left + 2 * number * BESIDE, "py": at_edge} for number, mark in enumerate(beside)]
    if not values:
        return []
    place = {
        "x": {"shorthand": "px:Q", "scale": None, "axis": None},
        "y": {"shorthand": "py:Q", "scale": None, "axis": None},
    }
    channels = {"fill": raw("colour"), "shape": raw("shape")}
    return [picture.layer("point", values, {"size": 75, "filled": True, "angle": 45}, **place, **channels)]


def _pixels(each: Drawn, plane: Plane) -> list[tuple[float, float]]:
    """The points of a line in pixels."""
    return [plane.at_log(rung.lr, clamp(rung.mean, plane.y)) for rung in _known(each)]


def in_words(found: Learning) -> list[str]:
    """What the chart shows, a text per family: its best rate, and how far from it others do nearly as well."""
    texts = []
    for each in drawn(found):
        rung, near = each.best, each.family.sensitivity
        spread = f", {near} between rates nearly as good" if near else ""
        edge = f", the {each.family.edge} tried" if each.family.edge else ""
        lost = sum(len(one.diverged) for one in each.family.rungs)
        gone = f", {count(lost, 'trial')} diverged" if lost else ""
        texts.append(
            f"{each.family.label} best at {at_rate(rung)}{edge}: "
            f"{value_text(list(rung.finals.values()), found.higher)}{spread}{gone}"
        )
    return texts
