"""What a comparison of two versions says, for the terminal and for other programs. Prints nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyse.judgement import Judgement
from harness.analyse.quantity import ABSENT, SPACE, listed
from harness.report.text import clip

STYLES = {
    "regressed": "bold red",
    "improved": "green",
    "undecided": "yellow",
    "not comparable": "magenta",
    "same": "dim",
}
ORDER = ("regressed", "improved", "not comparable", "undecided", "same")


def in_words(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> str:
    """One sentence: what is worse, what is better, and how much is not known."""
    if not judgements:
        return "Nothing was compared: neither side has a round."
    by = {word: [each for each in judgements if each.verdict == word] for word in ORDER}
    told = [
        f"{word}: {listed([_figure(each, labels) for each in by[word]], most=4)}"
        for word in ("regressed", "improved")
        if by[word]
    ]
    rest = Counter(each.verdict for each in judgements)
    told += [f"{rest[word]:,} {word}" for word in ("same", "undecided", "not comparable") if rest[word]]
    said = "; ".join(told)
    return f"{said[0].upper()}{said[1:]}." if by["regressed"] or by["improved"] else f"No difference is shown: {said}."


def _figure(each: Judgement, labels: Mapping[str, str]) -> str:
    effect = f" {percent(each.effect)}" if each.effect is not None else ""
    return f"{clip(labels.get(each.cell, each.cell), 80)} {each.metric}{effect}"


def percent(ratio: float) -> str:
    """A ratio of B to A as what B has more: `+3.1 %`, `−0.4 %`; from a factor of 2 on as that: `2.5×`."""
    if not 0.5 < ratio < 2:
        return f"{ratio:.3g}×"
    return f"{(ratio - 1) * 100:+.1f}{SPACE}%".replace("-0.0", "+0.0").replace("-", "−")


def effect_text(each: Judgement) -> str:
    """`+3.1 %`, or that there is none."""
    return percent(each.effect) if each.effect is not None else ABSENT


def interval_text(each: Judgement) -> str:
    """`+2.0 % to +4.5 %`, or that there is none."""
    return f"{percent(each.low)} to {percent(each.high)}" if each.low and each.high else ABSENT


def comparison(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> RenderableType:
    """The sentence, and a table with what differs first."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for title in ("cell", "metric", "verdict"):
        table.add_column(title, overflow="fold")
    for title in ("B against A", "95 %", "rounds"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for each in sorted(judgements, key=lambda each: ORDER.index(each.verdict)):
        table.add_row(
            Text(clip(labels.get(each.cell, each.cell), 80)),
            each.metric or ABSENT,
            Text(each.verdict, style=STYLES[each.verdict]),
            effect_text(each),
            interval_text(each),
            str(each.rounds or ABSENT),
            Text(clip(each.reason, 200)),
        )
    return Group(Text(in_words(judgements, labels), style="bold"), table)


def as_rows(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The judgements as JSON, each with its cell in words."""
    return [{"label": labels.get(each.cell, each.cell), **asdict(each)} for each in judgements]
