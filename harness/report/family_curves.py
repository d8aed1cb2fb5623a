"""Held-out curves of recipes at their best rate, by step and by training seconds; and the learning rate by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from harness.analyse.learning import Learning
from harness.analyse.learning_curves import Floats, LearningCurve, learning_curve, rates
from harness.analyse.quantity import SPACE, digits, duration
from harness.report.family_look import Drawn, drawn
from harness.report.learning_plane import (
    NAME_ROOM,
    band_opacity,
    clamp,
    dashes,
    end_names,
    level_layers,
    same,
    with_levels,
)
from harness.report.picture import HEIGHT, WIDTH, Padding, Picture, Values, field, raw, scaled
from harness.report.plane import Domain, Plane
from harness.report.text_width import fitted, width
from harness.run.stored import StoredRun

EARLY = 0.2
"""What curves do in this first share of them may lie beyond the axis, so that their ends can be told apart."""
POINTS_AT_MOST = 120
RATES_AT_MOST = 400
"""Points of a curve that are drawn: more cannot be seen."""
Pairs = list[tuple[Drawn, LearningCurve]]


def curves_of(found: Learning) -> Pairs:
    """The curves of the families that are drawn."""
    pairs = ((each, learning_curve(each.family, found.metric)) for each in drawn(found))
    return [(each, curve) for each, curve in pairs if curve is not None]


def held_out_curves(found: Learning, pairs: Pairs, picture: Picture, by_time: bool = False) -> Markup | None:
    """The held-out metric of each family with its band over seeds; None where nothing was evaluated twice."""
    if not pairs:
        return None
    late = [
        float(value)
        for _each, curve in pairs
        for at, step in enumerate(curve.steps)
        if step >= EARLY * curve.steps[-1]
        for value in (curve.low[at], curve.high[at])
    ]
    best = (max if found.higher else min)(float(end) for _each, curve in pairs for end in (*curve.low, *curve.high))
    domain, near = with_levels(found, (min(late), best) if found.higher else (best, max(late)))
    alone = len(pairs) == 1
    texts = [_end_text(each, curve, alone) for each, curve in pairs]
    padding = Padding(44, 16 + max(map(width, texts)), 14, 40)
    across = WIDTH - padding.left - padding.right
    last = max(float(curve.along(by_time)[-1]) for _each, curve in pairs)
    height = HEIGHT if not alone else 200
    plane = Plane(across, height, (0, last * 1.02), domain)
    x = scaled("x", plane.x, "training seconds" if by_time else "optimizer step", tickCount=5, grid=False)
    y = scaled("y", plane.y, None, tickCount=5 if not alone else 4)
    bands, lines = _values(pairs, picture, plane, by_time)
    detail = field("line:N")
    band = picture.layer(
        "area",
        bands,
        {"fillOpacity": band_opacity(len(pairs))},
        x=x,
        y=y,
        y2=field("high:Q"),
        fill=raw("colour"),
        detail=detail,
    )
    channels = {"detail": detail, "order": field("x:Q"), "stroke": raw("colour"), "strokeDash": dashes()}
    line = picture.layer("line", lines, {"strokeWidth": 1.75}, x=x, y=y, **channels)
    passed = [
        [plane.at(*point) for point in _seen(inside(curve.along(by_time), curve.mean, plane.y), plane)]
        for _each, curve in pairs
    ]
    ends = [plane.at(float(curve.along(by_time)[-1]), clamp(float(curve.mean[-1]), plane.y)) for _each, curve in pairs]
    names = end_names(picture, plane, [each for each, _curve in pairs], ends, texts)
    return picture.draw(
        [band, line, *level_layers(picture, plane, near, y, passed), *names], plane.width, height, padding
    )


def _end_text(each: Drawn, curve: LearningCurve, alone: bool) -> str:
    value = digits(float(curve.mean[-1]))
    return value if alone else f"{fitted(each.family.short, NAME_ROOM - width(value))} {value}"


def _values(pairs: Pairs, picture: Picture, plane: Plane, by_time: bool) -> tuple[Values, Values]:
    bands: Values = []
    lines: Values = []
    for each, curve in reversed(pairs):
        along = curve.along(by_time)
        unit = f"after {duration(float(along[-1]))}" if by_time else f"after {along[-1]:.0f} steps"
        marks = same(each, picture, f"{each.name}: {digits(float(curve.mean[-1]))} {unit}")
        own = inside(along, curve.mean, plane.y)
        lines += [{"x": x, "y": y, **marks} for x, y in _seen(own, plane)]
        plain = same(each, picture)
        kept = [at for at in _band(curve, along, plane) if not own or along[at] >= own[0][0]]
        for at in kept:
            low, high = clamp(float(curve.low[at]), plane.y), clamp(float(curve.high[at]), plane.y)
            bands.append({"x": float(along[at]), "y": low, "high": high, **plain})
    return bands, lines


def inside(x: Floats, y: Floats, domain: Domain) -> list[tuple[float, float]]:
    """The curve from where it first comes into the domain, that point put in; beyond that held at its ends."""
    within = np.flatnonzero((y >= domain[0]) & (y <= domain[1]))
    if not len(within):
        return []
    first = int(within[0])
    points = [(float(x[at]), clamp(float(y[at]), domain)) for at in range(first, len(x))]
    if first > 0:
        edge = clamp(float(y[first - 1]), domain)
        share = (edge - y[first - 1]) / (y[first] - y[first - 1])
        points.insert(0, (float(x[first - 1] + share * (x[first] - x[first - 1])), edge))
    return points


def _seen(points: Sequence[tuple[float, float]], plane: Plane) -> list[tuple[float, float]]:
    """No more points than can be seen."""
    if not points:
        return []
    x, y = np.array(points).T
    return [points[at] for at in plane.seen(x, y, POINTS_AT_MOST)]


def _band(curve: LearningCurve, along: Floats, plane: Plane) -> list[int]:
    """The points of a band that can be seen: those of its two edges."""
    edges = (plane.seen(along, np.clip(edge, *plane.y), POINTS_AT_MOST) for edge in (curve.low, curve.high))
    return sorted({int(at) for kept in edges for at in kept})


def learning_rates(run: StoredRun, found: Learning, picture: Picture) -> Markup | None:
    """The learning rate of each family's best rung by step, as a share of its peak; None where no series was kept."""
    pairs = [(each, own) for each in drawn(found) if (own := rates(run, each.family)) is not None]
    if not pairs:
        return None
    texts = [fitted(each.family.short, NAME_ROOM) for each, _own in pairs]
    padding = Padding(44, 16 + max(map(width, texts)), 14, 40)
    across = WIDTH - padding.left - padding.right
    last = max(float(steps[-1]) for _each, (steps, _share) in pairs)
    highest = max(float(share.max()) for _each, (_steps, share) in pairs)
    plane = Plane(across, 220, (0, last * 1.02), (0.0, max(1.0, highest) * 1.05))
    x = scaled("x", plane.x, "optimizer step", tickCount=5, grid=False)
    y: Any = scaled("y", plane.y, None, tickCount=5, labelExpr=f"format(100 * datum.value, '~g') + '{SPACE}%'")
    values = [
        {"x": at, "y": share, **same(each, picture, f"{each.name}: {_share_text(own)}")}
        for each, own in reversed(pairs)
        for at, share in zip(*_corners(own, plane), strict=True)
    ]
    channels = {"detail": field("line:N"), "order": field("x:Q"), "stroke": raw("colour"), "strokeDash": dashes()}
    line = picture.layer("line", values, {"strokeWidth": 1.75}, x=x, y=y, **channels)
    ends = [plane.at(float(steps[-1]), float(share[-1])) for _each, (steps, share) in pairs]
    names = end_names(picture, plane, [each for each, _own in pairs], ends, texts)
    return picture.draw([line, *names], plane.width, plane.height, padding)


def _corners(own: tuple[Floats, Floats], plane: Plane) -> tuple[list[float], list[float]]:
    """Steps and shares of a schedule that can be seen: of a warm-up its ends, of a jump both sides."""
    steps, share = own
    kept = plane.seen(steps, share, RATES_AT_MOST)
    return steps[kept].tolist(), share[kept].tolist()


def _share_text(own: tuple[Floats, Floats]) -> str:
    steps, share = own
    return (
        f"{100 * share[0]:.2g}{SPACE}% of the peak at first, {100 * share[-1]:.2g}{SPACE}% after {steps[-1]:.0f} steps"
    )


def in_words(pairs: Pairs, by_time: bool) -> list[str]:
    """What the curves show, a text per family."""
    texts = []
    for each, curve in pairs:
        end = curve.along(by_time)[-1]
        when = duration(float(end)) if by_time else f"step {end:.0f}"
        texts.append(f"{each.name} {digits(float(curve.mean[-1]))} at {when}")
    return texts
