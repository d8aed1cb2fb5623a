"""Commands that run trials, or say which ones they would run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from harness.cli.terminal import (
    INTERRUPTED,
    NOTHING_MEASURED,
    AsJson,
    Devices,
    Plugins,
    Repeats,
    Results,
    SuiteFile,
    Where,
    app,
    complain,
    err,
    indexed,
    out,
    print_rows,
    print_summary,
    waiting,
    watching,
)
from harness.schema.errors import HarnessError


@app.command()
def run(
    suite: SuiteFile,
    results: Results = Path("results"),
    resume: Annotated[bool, typer.Option("--resume", help="keep trials that are stored and OK")] = False,
    plugin: Plugins = None,
    where: Where = None,
    repeats: Repeats = None,
    devices: Devices = None,
    executor: Annotated[Literal["local"], typer.Option(help="where trials run")] = "local",
    report: Annotated[Path | None, typer.Option(help="also write the page to this HTML file")] = None,
    accept_other_data: Annotated[bool, typer.Option(help="run also on data that are not the recorded ones")] = False,
) -> None:
    """Run every trial of a suite; the last line on stdout is the run folder."""
    from harness.run.invocation import Asked, carry_out, command_line, ready
    from harness.run.stored import read_run

    plugins, conditions = tuple(plugin or ()), tuple(where or ())
    asked = Asked(
        suite, results, plugins, conditions, repeats, devices, resume, command_line(), accept_other_data
    )  # fmt: skip
    with waiting("looking at the machine and checking the suite"):
        checked = ready(asked)
    past = _announce(checked, results)
    with watching(checked.plan, past) as told:
        outcome = carry_out(asked, checked, told.observe, told.watch)
    stored = read_run(outcome.folder)
    try:
        _show(stored, report, results)
    finally:
        out.print(str(outcome.folder), markup=False)
    if not outcome.finished:
        again = command_line() if resume else f"{command_line()} --resume"
        err.print(f"interrupted; everything measured until then is stored. To go on: {escape(again)}")
        raise typer.Exit(INTERRUPTED)
    if not any(record.status == "OK" for record in stored.records):
        complain(f"nothing was measured: no trial of {len(stored.records)} ended OK")
        raise typer.Exit(NOTHING_MEASURED)


def _announce(checked: Any, results: Path) -> dict[str, float]:
    """Say what would run and for how long; by cell, the seconds of earlier trials that this goes by."""
    from harness.run.plan import estimate_s
    from harness.run.stored import past_seconds

    past = past_seconds(results, checked.inventory.machine_key)
    seconds, basis = estimate_s(checked.plan, past)
    trials, impossible = len(checked.plan.trials), len(checked.plan.unsupported)
    err.print(escape(checked.suite.question), style="bold")
    err.print(f"{trials} trials, {impossible} impossible here; about {seconds / 60:.1f} min ({escape(basis)})")
    return past


def _show(stored: Any, report: Path | None, results: Path) -> None:
    from harness.report.console import run_summary

    print_summary(run_summary(stored))
    if report is not None:
        from harness.report.page import write_page

        write_page(stored, report)
        out.print(f"page: {report}", markup=False)
        if (index := indexed(report, results)) is not None:
            out.print(f"index: {index}", markup=False)


@app.command()
def plan(
    suite: SuiteFile,
    results: Results = Path("results"),
    plugin: Plugins = None,
    where: Where = None,
    repeats: Repeats = None,
    devices: Devices = None,
    as_json: AsJson = False,
) -> None:
    """Show the trials of a suite in order, the impossible ones with their reason; start nothing."""
    from harness.report.listing import planned
    from harness.run.invocation import Asked, ready

    with waiting("looking at the machine and checking the suite"):
        checked = ready(Asked(suite, results, tuple(plugin or ()), tuple(where or ()), repeats, devices))
    _announce(checked, results)
    print_rows(planned(checked.plan), as_json)


@app.command()
def rerun(
    trial_id: Annotated[str, typer.Argument(help="a trial's id, as the page shows it")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Run one stored trial again and show its figures beside the stored ones."""
    from harness.report.listing import compared
    from harness.report.progress import describe
    from harness.run.invocation import carry_out_one
    from harness.run.stored import find_record, read_run

    found = find_record(results, trial_id)
    if found is None:
        raise HarnessError(f"rerun: found {trial_id!r}, expected the id of a trial stored in {results}")
    folder, before = found
    info = read_run(folder).info
    after, kept = carry_out_one(before, info, results, lambda event: err.print(f"{describe(event)}", markup=False))
    print_rows(compared(before, after), as_json)
    if not as_json:
        out.print(str(kept.folder), markup=False)
