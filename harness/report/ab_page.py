"""The page of a session of `harness ab`: is B worse, by how much, how sure, and every round of it. It loads nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from harness.analyse.ab_sessions import Session
from harness.analyse.gate import MEANS, gate
from harness.analyse.judgement import Judgement
from harness.analyse.quantity import ABSENT, duration
from harness.analyse.screen import judge_stages
from harness.report.ab_chart import Effect, Ratios, effects_picture, in_words, rounds_picture
from harness.report.columns import Column
from harness.report.comparison import ORDER, effect_text, interval_text, percent
from harness.report.comparison import in_words as sentence
from harness.report.document import rendered
from harness.report.figures import Figure, Sketch
from harness.report.look import look_of
from harness.report.rows import ROWS_AT_MOST
from harness.report.run_facts import machine
from harness.report.tables import Table, TableRow
from harness.report.text import clip
from harness.report.whole_file import write_whole
from harness.schema.measured import Measured
from harness.schema.metrics import metric as definition_of

LABEL = 120
"""Characters of a cell's name at most, where it is drawn."""
DRAWN_AT_MOST = 4
"""Metrics that get pictures, those with a verdict first; the table holds all."""
ROW_KINDS = {"regressed": "bad", "improved": "base", "not comparable": "off"}


def ab_page(session: Session) -> str:
    """The whole page as HTML."""
    judged = sorted(judge_stages(*session.stages), key=lambda each: ORDER.index(each.verdict))
    outcome = session.outcome if session.outcome is not None else gate(judged)
    means = MEANS[outcome]
    return rendered(
        "ab.html.j2",
        session=session,
        facts=_facts(session),
        headline=f"{means[0].upper()}{means[1:]}.",
        said=sentence(judged, session.labels),
        caveats=list(_caveats(session)),
        figures=[figure for name, own in _drawn(judged) for figure in _figures(session, name, own)],
        table=_table(judged, session.labels),
    )


def write_ab(session: Session, path: Path) -> None:
    """Write the page so that at any moment either the old or the whole new one is there. Raises StoreError."""
    write_whole(path, ab_page(session), "page")


def _facts(session: Session) -> list[str]:
    took = [datetime.fromisoformat(session.started_at), datetime.fromisoformat(session.ended_at)]
    seconds = (took[1] - took[0]).total_seconds()
    when = took[0].strftime("%Y-%m-%d %H:%M UTC")
    here = [text for text in machine(session.environment) if not text.startswith("commit ")]
    known = [*here, f"A: {session.a.title}", f"B: {session.b.title}", when]
    return [*known, f"took {duration(seconds)}"] if seconds > 0 else known


def _caveats(session: Session) -> Iterator[str]:
    """What a reader must know before believing it."""
    for side, version in (("A", session.a), ("B", session.b)):
        if version.dirty and version.commit:
            yield f"{side} was not as committed: {version.commit[:10]} with changes."
    if not session.rounds["null"]:
        yield "There is no control: A was not run once more, so what identical code shows here is not known."


def _drawn(judged: Sequence[Judgement]) -> list[tuple[str, list[Judgement]]]:
    """Metrics that have intervals, with their judgements; those that say most first."""
    found: dict[str, list[Judgement]] = defaultdict(list)
    for each in judged:
        if each.effect is not None and each.low is not None:
            found[each.metric].append(each)
    first = sorted(found.items(), key=lambda pair: (ORDER.index(pair[1][0].verdict), pair[0] != "step_cpu_s"))
    return first[:DRAWN_AT_MOST]


def _figures(session: Session, name: str, judged: Sequence[Judgement]) -> Iterator[Figure]:
    definition = definition_of(name)
    better = "to the right is better" if definition.better == "higher" else "to the left is better"
    effects = [_effect(session, name, each) for each in judged[:ROWS_AT_MOST]]
    more = len(judged) - len(effects)
    cut = f" {more:,} more cells stand in the table." if more else ""
    look = look_of(())
    yield Sketch(
        f"{name}-effects", f"{name}: B against A",
        f"{definition.definition} The mean ratio over rounds with its 95 % interval; {better}. "
        f"Filled: a verdict stands; red is worse, green better.{cut}",
        lambda picture: effects_picture(effects, picture), [in_words(each) for each in effects], "",
    ).drawn(look)  # fmt: skip
    yield Sketch(
        f"{name}-rounds", f"{name}: round by round",
        "Each dot is a round of fresh processes: filled B against A, open below it A once more against A, "
        "which is what identical code shows here.",
        lambda picture: rounds_picture(effects, picture), [in_words(each) for each in effects],
        "No round was measured on both sides.",
    ).drawn(look)  # fmt: skip


def _effect(session: Session, name: str, judged: Judgement) -> Effect:
    a = _values(session.rounds["a"], name, judged.cell)
    sides = [_ratios(a, _values(session.rounds[arm], name, judged.cell)) for arm in ("b", "null")]
    return Effect(judged, clip(session.labels.get(judged.cell, judged.cell), LABEL), *sides)


def _values(rounds: Sequence[Measured], name: str, cell: str) -> dict[str, float]:
    """By round, what is a number above 0."""
    own = {item.round: item.metrics.get(name) for item in rounds if item.cell == cell}
    return {round_: float(value) for round_, value in own.items() if value is not None and value > 0}


def _ratios(a: Mapping[str, float], other: Mapping[str, float]) -> Ratios:
    return [(round_, value / a[round_]) for round_, value in other.items() if round_ in a]


def _table(judged: Sequence[Judgement], labels: Mapping[str, str]) -> Table:
    columns = (
        Column("cell", number=False),
        Column("verdict", number=False, means="corrected over all comparisons of the session"),
        Column("metric", number=False),
        Column("B against A"),
        Column("interval", "95 %", number=False),
        Column("rounds"),
        Column("would find", "9 in 10", "the smallest difference that these rounds would have found nine times in ten"),
        Column("why", number=False),
    )
    rows = [
        TableRow(
            (
                labels.get(each.cell, each.cell),
                each.verdict,
                each.metric or ABSENT,
                effect_text(each),
                interval_text(each),
                str(each.rounds or ABSENT),
                percent(each.detectable) if each.detectable is not None else ABSENT,
                each.reason,
            ),
            "",
            ROW_KINDS.get(each.verdict, "ok"),
        )
        for each in judged
    ]
    return Table("judgements", "Every cell and metric, what differs first", columns, rows)
