"""`harness ab`: two versions of code or environment alternated step by step in one session, and the gate over them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.terminal import INTERRUPTED, Plugins, Results, SuiteFile, Where, app, err, out, waiting
from harness.cli.verdicts import Out, told

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
) -> None:
    """Compare two versions here and now, step by step in turn. Exit codes as `harness gate`."""
    from harness.analyse.screen import judge_stages, to_confirm
    from harness.run.ab.session import opened, screen_and_confirm
    from harness.run.invocation import Asked, command_line, ready

    asked = Asked(suite, results, tuple(plugin or ()), tuple(where or ()), command=command_line())
    with waiting("looking at the machine and checking the suite"):
        checked = ready(asked)
    for trial, reason in checked.plan.unsupported:
        err.print(f"not supported here: {trial.label}: {reason}", markup=False)
    kept: Path | None = None
    try:
        with opened((a, b), asked, checked, _observe) as session:
            kept = session.folder
            screened, confirmed = screen_and_confirm(session, to_confirm, rounds)
    except KeyboardInterrupt:
        err.print(f"interrupted; the rounds until then are in {kept}" if kept else "interrupted", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    labels = {trial.cell: trial.label for trial in session.trials}
    code = told(judge_stages(screened, confirmed), labels, strict, json, junit, markdown)
    session.note(outcome=code.name.lower(), exit_code=int(code))
    out.print(str(session.folder), markup=False)
    raise typer.Exit(int(code))


def _observe(event: Any) -> None:
    """One line a round: which cell, and who did not end well."""
    bad = [f"{arm} {each.status} ({each.reason})" for arm, each in event.ended.items() if each.status != "OK"]
    text = f"{event.stage} {event.round}: {event.cell}: {'; '.join(bad) or 'ok'} ({event.left} to go)"
    err.print(text, markup=False)
