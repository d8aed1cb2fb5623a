"""Loss curves: by step, where strategies must lie on one another, and by time, where they must not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from harness.analyse.cells import Cell
from harness.analyse.frame import steps_frame
from harness.analyse.quantity import digits, duration
from harness.analyse.ratios import ranked
from harness.analyse.study import Group
from harness.report.look import dash
from harness.report.picture import HEIGHT, WIDTH, Padding, Picture, Style, field, pixels, raw, scaled
from harness.report.plane import Anchor, Label, Plane, place, widened, write
from harness.report.text import clip
from harness.report.text_width import fitted, width
from harness.report.thin import SEEN, Floats
from harness.run.stored import StoredRun

if TYPE_CHECKING:
    import altair as alt

POINTS_AT_MOST = 250
"""Points of a curve that are drawn: more cannot be seen."""
POINTS_OF_ALL = 1200
"""Points of all curves of a picture."""
CURVES_AT_MOST = 12
PADDING = Padding(36, 14, 10, 40)
KEY_LINE = 15
KEY_NAME = 170.0
"""Pixels at most of a name in the key that stands in the plot."""
ONE_LINE = 6
"""Pixels up to which curves look like one."""


@dataclass(frozen=True)
class Curve:
    """Loss of a cell, mean over its rounds. x: step or training seconds."""

    cell: Cell
    x: Floats
    loss: Floats

    @property
    def end(self) -> tuple[float, float]:
        """Last x and loss."""
        return float(self.x[-1]), float(self.loss[-1])


def loss_curves(run: StoredRun, group: Group, x: str) -> list[Curve]:
    """Curves of the fastest cells that ended OK: mean over rounds at each step that all rounds reached, then smoothed.

    Window of the running mean: a 25th of the curve's steps, centred; none for short runs. x: `step` or `train_s`.
    """
    trials = ranked(group.trials)
    with_series = set(trials.loc[trials["trial_id"].isin(run.series.keys()), "cell"])
    shown = [cell for cell in group.ranking if cell.cell in with_series][:CURVES_AT_MOST]
    trials = trials.loc[trials["cell"].isin({cell.cell for cell in shown}), ["trial_id", "cell"]]
    steps = steps_frame(run, trials).merge(trials, on="trial_id").dropna(subset=["step", x])
    by_cell = {str(cell): own for cell, own in steps.astype({"loss": float, "step": float, x: float}).groupby("cell")}
    curves = [_curve(cell, by_cell[cell.cell], x) for cell in shown if cell.cell in by_cell]
    return [curve for curve in curves if len(curve.x) > 1]


def _curve(cell: Cell, steps: pd.DataFrame, x: str) -> Curve:
    """Rounds warm up for different numbers of steps: beyond the last common one a mean would jump between rounds."""
    common = steps[steps["step"] <= steps.groupby("trial_id")["step"].max().min()]
    means = common.groupby("step", as_index=False)[list({"loss", x} - {"step"})].mean().dropna()
    window = max(1, round(len(means) / 25))
    smooth = means["loss"].rolling(window, center=True, min_periods=1).mean()
    return Curve(cell, means[x].to_numpy(float), smooth.to_numpy(float))


def loss_by_step(curves: Sequence[Curve], picture: Picture) -> Markup | None:
    """Loss by step, curves labelled where they end; bundles of curves that end together by one label."""
    if not curves:
        return None
    plane = _plane(curves, picture)
    return _draw(curves, picture, plane, "optimizer step", write(picture, _ends(curves, plane, picture)))


def loss_by_time(curves: Sequence[Curve], picture: Picture) -> Markup | None:
    """Loss by training seconds; the key stands where falling curves leave room, soonest end first."""
    if not curves:
        return None
    plane = _plane(curves, picture)
    key, above = _key(curves, picture, plane)
    return _draw(curves, picture, plane, "training seconds", key, replace(PADDING, top=PADDING.top + above))


def _plane(curves: Sequence[Curve], picture: Picture) -> Plane:
    losses = [float(end) for curve in curves for end in (curve.loss.min(), curve.loss.max())]
    across = WIDTH - PADDING.left - PADDING.right
    last = max(curve.end[0] for curve in curves)
    return Plane(across, HEIGHT, (0, last * 1.02), widened(losses, 0.06))


def _draw(
    curves: Sequence[Curve],
    picture: Picture,
    plane: Plane,
    title: str,
    texts: list[alt.Chart],
    padding: Padding = PADDING,
) -> Markup:
    """All curves as one layer, slowest first so that the fastest lies on top, each thinned to what can be seen."""
    most = max(40, min(POINTS_AT_MOST, POINTS_OF_ALL // len(curves)))
    values = []
    for curve, line in _as_drawn(curves[::-1], plane):
        kept = plane.seen(line.x, line.loss, most)
        about = picture.about([curve.cell.cell], f"{curve.cell.label}: loss {digits(curve.end[1])} at the end")
        same = _line_of(curve, picture) | {"cell": curve.cell.cell, "about": about}
        values += [{"x": float(line.x[at]), "y": float(line.loss[at]), **same} for at in kept]
    x = scaled("x", plane.x, title, tickCount=6, grid=False)
    y = scaled("y", plane.y, None, tickCount=5)
    channels = {
        "detail": field("cell:N"),
        "order": field("x:Q"),
        "stroke": raw("colour"),
        "strokeDash": _dashes(curves),
    }
    lines = picture.layer("line", values, {"strokeWidth": 1.75, "strokeJoin": "round"}, x=x, y=y, **channels)
    return picture.draw([lines, *texts], plane.width, plane.height, padding)


def _as_drawn(curves: Sequence[Curve], plane: Plane) -> Iterator[tuple[Curve, Curve]]:
    """Each curve, and the first that looks the same: that one is drawn in its place, so that a page holds it once."""
    lines: list[Curve] = []
    for curve in curves:
        line = next((line for line in lines if _same_picture(curve, line, plane)), curve)
        if line is curve:
            lines.append(curve)
        yield curve, line


def _same_picture(curve: Curve, other: Curve, plane: Plane) -> bool:
    return np.array_equal(curve.x, other.x) and _apart(curve, other, plane) < SEEN


def _line_of(curve: Curve, picture: Picture) -> dict[str, Any]:
    return {"colour": picture.look.colour(curve.cell.strategy), "dash": curve.cell.precision}


def _dashes(curves: Sequence[Curve]) -> Style:
    names = list(dict.fromkeys(curve.cell.precision for curve in curves))
    return {"shorthand": "dash:N", "scale": {"domain": names, "range": [dash(name) for name in names]}, "legend": None}


def _ends(curves: Sequence[Curve], plane: Plane, picture: Picture) -> list[Label]:
    """A label per bundle of curves that lie on one another, clear of the curves, at the end of the longest."""
    bundles: list[list[Curve]] = []
    for curve in sorted(curves, key=lambda curve: -curve.end[0]):
        together = next((bundle for bundle in bundles if _apart(curve, bundle[0], plane) < ONE_LINE), None)
        if together is None:
            bundles.append([curve])
        else:
            together.append(curve)
    anchors = []
    for members in bundles:
        strategies = [curve.cell.strategy for curve in members]
        colour = picture.look.colour(strategies[0]) if len(set(strategies)) == 1 else "var(--ink)"
        texts = _bundle_texts([curve.cell.label for curve in members], len(curves))
        classes = picture.look.css(curve.cell.cell for curve in members)
        anchors.append(Anchor(*plane.at(*members[0].end), texts, classes, colour))
    return place(anchors, _passed(curves, plane), plane, reach=(13, 24, 38, 54, 72))


def _apart(curve: Curve, other: Curve, plane: Plane) -> float:
    """Largest distance in pixels between two curves, where both are."""
    here = curve.x[curve.x <= other.x[-1]]
    apart = np.abs(np.interp(here, curve.x, curve.loss) - np.interp(here, other.x, other.loss))
    return float(apart.max(initial=0.0)) / (plane.y[1] - plane.y[0]) * plane.height


def _passed(curves: Sequence[Curve], plane: Plane) -> list[tuple[float, float]]:
    """Points every few pixels along the curves, which labels must not cover."""
    points = set()
    for curve in curves:
        for x in np.linspace(curve.x[0], curve.x[-1], 90):
            px, py = plane.at(float(x), float(np.interp(x, curve.x, curve.loss)))
            points.add((round(px), round(py)))
    return [(float(x), float(y)) for x, y in sorted(points)]


def _bundle_texts(names: list[str], of: int) -> tuple[str, ...]:
    if len(names) == 1:
        return clip(names[0], 40), clip(names[0], 20)
    return (
        (f"all {of} cells, one line", f"all {of} cells")
        if len(names) == of
        else (f"{clip(names[0], 18)} and {len(names) - 1} more",)
    )


def _key(curves: Sequence[Curve], picture: Picture, plane: Plane) -> tuple[list[alt.Chart], float]:
    """Samples of the lines with names and seconds at the end, in the top right corner where falling curves leave room
    for all, else above the plot; and how many pixels of room they take there.
    """
    soonest = sorted(curves, key=lambda curve: curve.end[0])
    texts = [duration(curve.end[0]) for curve in soonest]
    names = [fitted(curve.cell.label, KEY_NAME) for curve in soonest]
    left = plane.width - max(map(width, names)) - max(map(width, texts)) - 10
    free = min((y for x, y in _passed(curves, plane) if x > left - 36), default=plane.height) - 12
    above = 0.0 if 8.0 + (len(names) - 1) * KEY_LINE <= free else len(names) * KEY_LINE + 6.0
    if above:
        names = [fitted(curve.cell.label, plane.width - 46 - max(map(width, texts))) for curve in soonest]
        left = 30.0
    samples, labels = [], []
    for number, (curve, name, text) in enumerate(zip(soonest, names, texts, strict=True)):
        y, classes = 8.0 + number * KEY_LINE - above, picture.look.css([curve.cell.cell])
        sample = {"x": left - 30, "to": left - 6, "y": y, "about": picture.about([curve.cell.cell])}
        samples.append(sample | _line_of(curve, picture))
        labels.append(Label(left, y, name, "left", classes, "var(--ink)"))
        labels.append(Label(plane.width, y, text, "right", classes, "var(--muted)"))
    ends = {"x": pixels("x"), "x2": field("to:Q"), "y": pixels("y")}
    line = picture.layer(
        "rule", samples, {"strokeWidth": 1.75}, **ends, stroke=raw("colour"), strokeDash=_dashes(curves)
    )
    return [line, *write(picture, labels)], above
