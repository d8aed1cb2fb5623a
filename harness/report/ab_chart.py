"""Two versions as pictures: the effect on each cell with its interval, and every round by itself beside the control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.analyse.judgement import Judgement
from harness.analyse.quantity import count
from harness.report.comparison import percent
from harness.report.picture import MORE, Picture, Style, field, more, pixels, raw, scaled
from harness.report.rows import PLOT, Row, draw_rows, upright, y_of

if TYPE_CHECKING:
    import altair as alt

COLOURS = {"regressed": "var(--bad)", "improved": "var(--good)", "same": "var(--ink)"}
"""By verdict; of all others muted."""
ALONE = 0.02
"""Half of the axis at least, as a share: what is smaller than most machines can tell apart does not fill the plot."""
BEYOND = 4.0
"""Intervals that reach further than so many times the largest effect are cut off at the end of the axis."""
TICK = 46.0
"""Pixels between two labels of the axis."""
Ratios = Sequence[tuple[str, float]]
"""Name of each round, and its ratio."""


@dataclass(frozen=True)
class Effect:
    """A judged cell of one metric. rounds, control: B to A and A once more to A, round by round."""

    judgement: Judgement
    label: str
    rounds: Ratios
    control: Ratios

    @property
    def cell(self) -> str:
        """Its hash."""
        return self.judgement.cell

    @property
    def main(self) -> str:
        """Its name."""
        return self.label

    options = ""


def effects_picture(effects: Sequence[Effect], picture: Picture) -> Markup | None:
    """Each cell's effect with its 95 % interval, no difference being an upright line; None where there is none."""
    rows = [Row(each, *_verdict(each.judgement)) for each in effects]
    if not rows:
        return None
    x, y = _axis(effects, lambda each: _ends(each.judgement)), y_of(rows)
    low, high = x["scale"]["domain"]
    marks: list[dict[str, Any]] = []
    for each in effects:
        judged = each.judgement
        colour = COLOURS.get(judged.verdict, "var(--muted)")
        ends = sorted(map(more, (judged.low or judged.effect or 1, judged.high or judged.effect or 1)))
        marks.append({
            "x": more(judged.effect or 1), "y": y[each.cell], "colour": colour,
            "low": max(low, ends[0]), "high": min(high, ends[1]),
            "fill": colour if judged.verdict in COLOURS else "var(--page)",
            "about": picture.about([], in_words(each)), "bare": picture.about([]),
        })  # fmt: skip
    bars = picture.layer(
        "rule", [mark | {"about": mark["bare"]} for mark in marks], {"strokeWidth": 2.5, "strokeCap": "round"},
        x=field("low:Q"), x2=field("high:Q"), y=pixels("y"), stroke=raw("colour"),
    )  # fmt: skip
    style = {"size": 70, "strokeWidth": 2}
    points = picture.layer("point", marks, style, x=x, y=pixels("y"), fill=raw("fill"), stroke=raw("colour"))
    return draw_rows(picture, rows, [_none(picture, len(rows), x), bars, points])


def rounds_picture(effects: Sequence[Effect], picture: Picture) -> Markup | None:
    """Each round's ratio as a dot, filled B to A, open A once more to A; None where no round is a pair."""
    shown = [each for each in effects if each.rounds]
    rows = [Row(each, count(len(each.rounds), "round"), "off") for each in shown]
    if not rows:
        return None
    x, y = _axis(shown, lambda each: [ratio for _name, ratio in (*each.rounds, *each.control)]), y_of(rows)
    layers: list[alt.Chart] = [_none(picture, len(rows), x)]
    for own, lower, style in (
        ("control", 5, {"size": 40, "strokeWidth": 1.25, "stroke": "var(--muted)", "filled": False}),
        ("rounds", -4, {"size": 40, "fillOpacity": 0.72, "filled": True}),
    ):
        who = "B" if own == "rounds" else "A once more"
        dots = [
            {
                "x": more(ratio), "y": y[each.cell] + lower,
                "fill": COLOURS.get(each.judgement.verdict, "var(--accent)") if own == "rounds" else "var(--page)",
                "about": picture.about([], f"{each.label}, {name}: {who} {percent(ratio)} against A"),
            }
            for each in shown
            for name, ratio in getattr(each, own)
        ]  # fmt: skip
        if dots:
            layers.append(picture.layer("point", dots, style, x=x, y=pixels("y"), fill=raw("fill")))
    return draw_rows(picture, rows, layers)


def in_words(each: Effect) -> str:
    """What a row shows."""
    judged = each.judgement
    known = f" {percent(judged.effect)}" if judged.effect is not None else ""
    ends = f" [{percent(judged.low)}, {percent(judged.high)}]" if judged.low and judged.high else ""
    return f"{each.label}: {judged.verdict}{known}{ends}, {count(judged.rounds, 'round')}"


def _verdict(judged: Judgement) -> tuple[str, str]:
    tone = {"regressed": "bad", "improved": "value", "same": "value"}.get(judged.verdict, "off")
    return f"{judged.verdict} {percent(judged.effect)}" if judged.effect is not None else judged.verdict, tone


def _ends(judged: Judgement) -> list[float]:
    """The effect, and its interval as far as it leaves the effects apart."""
    effect = judged.effect or 1.0
    room = BEYOND * max(abs(effect - 1), ALONE)
    return [effect, *(min(max(end, 1 - room), 1 + room) for end in (judged.low, judged.high) if end)]


def _axis(effects: Sequence[Effect], values: Callable[[Effect], Sequence[float]]) -> Style:
    """In per cent more than A, no difference always within."""
    every = [more(value) for each in effects for value in values(each)]
    low, high = min(*every, -100 * ALONE), max(*every, 100 * ALONE)
    room = 0.06 * (high - low)
    ticks = int(PLOT // TICK)
    return scaled("x", (low - room, high + room), "B against A", tickCount=min(6, ticks), labelExpr=MORE)


def _none(picture: Picture, rows: int, x: Style) -> alt.Chart:
    return upright(picture, rows, 0.0, "var(--muted)", x, dashed=True)
