"""Commands that compare two versions: a verdict for each cell and metric, and the gate of CI."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.terminal import AsJson, app, out, warn

if TYPE_CHECKING:
    from harness.analyse.gate import Outcome
    from harness.analyse.judgement import Judgement

Side = Annotated[
    Path,
    typer.Argument(help="run folder, its trials.jsonl, baseline, other measured rounds, or pytest-benchmark's file"),
]
Null = Annotated[Path | None, typer.Option(help="A once more, of the same session: what identical code shows")]
Anchored = Annotated[
    bool, typer.Option("--baseline-is-anchor", help="the suite's baseline cell is the same code on both sides")
]
Out = Annotated[Path | None, typer.Option(help="also write this file")]


@app.command()
def compare(a: Side, b: Side, null: Null = None, anchored: Anchored = False, as_json: AsJson = False) -> None:
    """Compare two versions, B against A: what regressed, improved, is the same, undecided or not comparable."""
    from harness.analyse.gate import gate
    from harness.report.comparison import comparison
    from harness.report.gate_files import as_json as json_text

    judgements, labels = _judged(a, b, null, anchored)
    if as_json:
        sys.stdout.write(json_text(judgements, labels, gate(judgements)))
    else:
        out.print(comparison(judgements, labels))


@app.command("gate")
def gate_(
    baseline: Annotated[
        Path, typer.Option(help="A: run folder, stored baseline, measured rounds or pytest-benchmark's")
    ],
    candidate: Annotated[Path, typer.Option(help="B: run folder, measured rounds or pytest-benchmark's file")],
    null: Null = None,
    anchored: Anchored = False,
    strict: Annotated[bool, typer.Option("--strict", help="what is undecided fails as well, with exit code 4")] = False,
    json: Out = None,
    junit: Out = None,
    markdown: Out = None,
) -> None:
    """Judge a candidate for CI. Exit code 0: nothing worse, 1: regressed, 2: nothing measured, 3: not comparable."""
    judgements, labels = _judged(baseline, candidate, null, anchored)
    raise typer.Exit(int(told(judgements, labels, strict, json, junit, markdown)))


def told(
    judgements: list[Judgement], labels: dict[str, str], strict: bool,
    json: Path | None, junit: Path | None, markdown: Path | None,
) -> Outcome:  # fmt: skip
    """Write the files that were asked for, say what was found, return it as an exit code."""
    from harness.analyse.gate import MEANS
    from harness.analyse.gate import gate as decide
    from harness.report import gate_files
    from harness.report.comparison import comparison
    from harness.report.whole_file import write_whole

    outcome = decide(judgements, strict)
    formats: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (json, lambda: gate_files.as_json(judgements, labels, outcome)),
        (junit, lambda: gate_files.junit(judgements, labels, strict)),
        (markdown, lambda: gate_files.markdown(judgements, labels, outcome)),
    )
    for path, text in [(path, made()) for path, made in formats if path is not None]:
        write_whole(path, text)
    out.print(comparison(judgements, labels))
    out.print(f"gate: {MEANS[outcome]} (exit code {int(outcome)})")
    return outcome


def _judged(a: Path, b: Path, null: Path | None, anchored: bool) -> tuple[list[Judgement], dict[str, str]]:
    from harness.analyse.compare import compare as judge
    from harness.analyse.sides import read_side

    sides = []
    for path in (a, b, *([null] if null is not None else [])):
        measured, warnings = read_side(path, anchored)
        warn(warnings)
        sides.append(measured)
    labels = {item.cell: item.label or item.cell for side in sides for item in side}
    return judge(*sides), labels
