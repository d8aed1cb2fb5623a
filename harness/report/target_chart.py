"""Charts with a row per recipe: seconds to the target with what was not reached, and training against held-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from harness.analyse.families import Rung
from harness.analyse.learning import Learning
from harness.analyse.quantity import count, digits
from harness.analyse.target import Reach, in_words, seconds_text, steps_text
from harness.report.family_look import Drawn, drawn
from harness.report.picture import Picture, Values, field, pixels, raw, scaled
from harness.report.rows import Row, draw_rows, y_of


def _reached(found: Learning) -> list[tuple[Drawn, Reach]]:
    """Families with a target, soonest first: those that at most half of the seeds reached come last."""
    pairs = [(each, each.best.reach) for each in drawn(found)]
    known = [(each, at) for each, at in pairs if at is not None and at.seconds(1.0) is not None]
    return sorted(known, key=lambda pair: (pair[1].median is None, pair[1].seconds(pair[1].median or pair[1].beyond)))


def to_target(found: Learning, picture: Picture) -> Markup | None:
    """Median seconds to the target and the range over seeds; open arrows where seeds were watched and did not reach it.

    None where there is no target, no seed reached it, or a step was not timed.
    """
    pairs = _reached(found)
    if not any(at.steps for _each, at in pairs):
        return None
    rows = [Row(each.best.cell, *_value(at)) for each, at in pairs]
    y = y_of(rows)
    seconds = [at.seconds(step) or 0.0 for _each, at in pairs for step in (*at.steps, *at.censored)]
    x = scaled("x", (0, max(seconds) * 1.06), "training seconds to the target", tickCount=5)
    ranges, medians, others, open_ = _marks(pairs, picture, y)
    style = {"strokeWidth": 2.5, "strokeCap": "round"}
    at_row = {"y": pixels("y")}
    layers = [
        picture.layer("rule", ranges, style, x=x, x2=field("high:Q"), stroke=raw("colour"), **at_row),
        picture.layer("point", others, {"size": 22, "filled": True}, x=field("x:Q"), fill=raw("colour"), **at_row),
        picture.layer(
            "point", medians, {"size": 75, "filled": True}, x=field("x:Q"), fill=raw("colour"), shape=raw("shape"),
            **at_row,
        ),
        picture.layer(
            "point", open_, {"size": 85, "strokeWidth": 1.75, "fill": "var(--page)", "shape": "triangle-right"},
            x=field("x:Q"), stroke=raw("colour"), **at_row,
        ),
    ]  # fmt: skip
    return draw_rows(picture, rows, layers)


def _value(at: Reach) -> tuple[str, str]:
    text = f"{seconds_text(at)} ({len(at.steps)}/{at.seeds})"
    return text, "value" if at.median is not None else "off"


def _marks(
    pairs: Sequence[tuple[Drawn, Reach]], picture: Picture, y: dict[str, float]
) -> tuple[Values, Values, Values, Values]:
    ranges: Values = []
    medians: Values = []
    others: Values = []
    open_: Values = []
    for each, at in pairs:
        own: dict[str, Any] = {"y": y[each.best.cell.cell], "colour": each.colour, "shape": each.symbol}
        plain = picture.about([each.cell])
        if at.steps:
            low, high = (at.seconds(step) for step in at.ends)
            ranges.append(own | {"x": low, "high": high, "about": plain})
        others += [own | {"x": at.seconds(step), "about": plain} for step in at.steps]
        if at.median is not None:
            told = picture.about([each.cell], f"{each.name}: {in_words(at)}")
            medians.append(own | {"x": at.seconds(at.median), "about": told})
        for step in dict.fromkeys(at.censored):
            seeds = count(at.censored.count(step), "seed")
            told = picture.about([each.cell], f"{each.name}: {seeds} did not reach it within {step:.0f} steps")
            open_.append(own | {"x": at.seconds(step), "about": told})
    return ranges, medians, others, open_


def target_in_words(found: Learning) -> list[str]:
    """What the chart shows, a text per family."""
    return [f"{each.name} {steps_text(at)} steps, {seconds_text(at)}, {at.of_seeds}" for each, at in _reached(found)]


def _gapped(found: Learning) -> list[tuple[Drawn, Rung]]:
    return [(each, each.best) for each in drawn(found) if each.best.trained and each.best.known]


def gaps(found: Learning, picture: Picture) -> Markup | None:
    """The metric on training samples (open) and on held-out ones (filled), mean over seeds; None where not measured."""
    pairs = _gapped(found)
    if not pairs:
        return None
    rows = [Row(each.best.cell, _gap_text(rung)) for each, rung in pairs]
    y = y_of(rows)
    ends = [(float(np.mean(rung.trained)), rung.mean) for _each, rung in pairs]
    low, high = (which(value for pair in ends for value in pair) for which in (min, max))
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    x = scaled("x", (low - room, high + room), found.name, tickCount=4)
    lines: Values = []
    seen: Values = []
    unseen: Values = []
    for (each, _rung), (trained, held_out) in zip(pairs, ends, strict=True):
        own: dict[str, Any] = {"y": y[each.best.cell.cell], "colour": each.colour}
        lines.append(own | {"x": trained, "to": held_out, "about": picture.about([each.cell])})
        for values, value, what in ((seen, trained, "training samples"), (unseen, held_out, "held-out samples")):
            told = f"{each.name}: {found.name} {digits(value)} on {what}"
            values.append(own | {"x": value, "about": picture.about([each.cell], told)})
    at_row = {"y": pixels("y")}
    layers = [
        picture.layer("rule", lines, {"strokeWidth": 2}, x=x, x2=field("to:Q"), stroke=raw("colour"), **at_row),
        picture.layer(
            "point", seen, {"size": 70, "strokeWidth": 2, "fill": "var(--page)"},
            x=field("x:Q"), stroke=raw("colour"), **at_row,
        ),
        picture.layer("point", unseen, {"size": 80, "filled": True}, x=field("x:Q"), fill=raw("colour"), **at_row),
    ]  # fmt: skip
    return draw_rows(picture, rows, layers)


def _gap_text(rung: Rung) -> str:
    gap = rung.gap
    if gap is None:
        return ""
    interval = "" if gap.low is None or gap.high is None else f" [{digits(gap.low, 2)}, {digits(gap.high, 2)}]"
    return f"{digits(gap.value, 2)}{interval}"


def gaps_in_words(found: Learning) -> list[str]:
    """What the chart shows, a text per family."""
    return [
        f"{each.name} {digits(float(np.mean(rung.trained)))} in training, {digits(rung.mean)} held out"
        for each, rung in _gapped(found)
    ]
