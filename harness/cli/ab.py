"""`harness ab`: two versions of code or environment alternated step by step in one session, and the gate over them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.analyse.quantity import listed
from harness.cli.stored import write_session
from harness.cli.terminal import INTERRUPTED, Plugins, Results, SuiteFile, Where, app, err, indexed, out, waiting
from harness.cli.verdicts import Out, told
from harness.schema.errors import InputError, Problem

if TYPE_CHECKING:
    from harness.analyse.compare import Judgement
    from harness.run.ab.session import Session
    from harness.run.invocation import Asked, Ready

Spec = "a git ref, a folder or a python executable"


@app.command()
def ab(
    suite: SuiteFile,
    a: Annotated[str, typer.Option("--a", metavar="SPEC", help=f"the version to compare with: {Spec}")],
    b: Annotated[str, typer.Option("--b", metavar="SPEC", help=f"the version in question: {Spec}")],
    rounds: Annotated[int, typer.Option(min=6, help="confirming rounds, fresh processes each")] = 20,
    results: Results = Path("results"),
    plugin: Plugins = None,
    where: Where = None,
    strict: Annotated[bool, typer.Option("--strict", help="what is undecided fails as well, with exit code 4")] = False,
    json: Out = None,
    junit: Out = None,
    markdown: Out = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="also write this page (HTML)")] = None,
) -> None:
    """Compare two versions here and now, step by step in turn. Exit codes as `harness gate`."""
    from harness.run.invocation import Asked, command_line

    asked = Asked(suite, results, tuple(plugin or ()), tuple(where or ()), command=command_line())
    session, judgements = played((a, b), asked, rounds)
    labels = {trial.cell: trial.label for trial in session.trials}
    outcome = told(judgements, labels, strict, json, junit, markdown)
    session.note(outcome=outcome.name.lower(), exit_code=int(outcome))
    if output is not None:
        write_session(session.folder, output)
        indexed(output, results)
        out.print(f"page: {output}", markup=False)
    out.print(str(session.folder), markup=False)
    raise typer.Exit(int(outcome))


def played(
    specs: tuple[str, str], asked: Asked, rounds: int, cells: Collection[str] = ()
) -> tuple[Session, list[Judgement]]:
    """Play a session of two versions to its end; Ctrl-C ends the command. cells: only those, by lasting hashes."""
    from harness.analyse.screen import judge_stages, to_confirm
    from harness.run.ab.session import opened, screen_and_confirm
    from harness.run.invocation import ready

    with waiting("looking at the machine and checking the suite"):
        checked = ready(asked)
    if cells:
        checked = _only(checked, cells, asked.suite_file)
    for trial, reason in checked.plan.unsupported:
        err.print(f"not supported here: {trial.label}: {reason}", markup=False)
    kept: Path | None = None
    try:
        with opened(specs, asked, checked, _observe) as session:
            kept = session.folder
            screened, confirmed = screen_and_confirm(session, to_confirm, rounds)
    except KeyboardInterrupt:
        err.print(f"interrupted; the rounds until then are in {kept}" if kept else "interrupted", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    return session, judge_stages(screened, confirmed)


def _only(checked: Ready, cells: Collection[str], suite: Path) -> Ready:
    """The plan cut down to these cells. Raises InputError where the suite has none of them."""
    wanted = [trial for trial in checked.plan.trials if trial.lasting_cell in cells]
    if not wanted:
        labels = listed(list(dict.fromkeys(trial.label for trial in checked.plan.trials)), most=8)
        expected = f"a suite with the cells that changed ({', '.join(cells)}); it has {labels}"
        raise InputError([Problem("--confirm", "", str(suite), expected)])
    return replace(checked, plan=replace(checked.plan, trials=wanted, unsupported=[]))


def _observe(event: Any) -> None:
    """One line a round: which cell, and who did not end well."""
    bad = [f"{arm} {each.status} ({each.reason})" for arm, each in event.ended.items() if each.status != "OK"]
    text = f"{event.stage} {event.round}: {event.cell}: {'; '.join(bad) or 'ok'} ({event.left} to go)"
    err.print(text, markup=False)
