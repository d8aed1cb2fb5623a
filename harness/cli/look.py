"""Commands that show what there is: what is registered, what this machine has, the page of stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import AsJson, Page, Plugins, Results, app, err, out, print_rows, waiting
from harness.schema.errors import HarnessError


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="strategies, precisions, techniques, workloads, …")] = "all",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List what is registered: strategies, precisions, techniques, workloads, optimizers, schedules, regularizers, …"""
    from harness.report.listing import KINDS, registered
    from harness.schema.errors import UnknownName
    from harness.schema.registry import load_plugin

    for path in plugin or ():
        load_plugin(path)
    if kind != "all" and kind not in KINDS:
        raise UnknownName("harness list", kind, KINDS)
    kinds = list(KINDS) if kind == "all" else [kind]
    if as_json:
        print_rows([row for each in kinds for row in registered(each)], as_json)
        return
    for each in kinds:
        print_rows([{k: v for k, v in row.items() if k != "kind"} for row in registered(each)], False, each)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, and what is missing for which feature with the command that adds it."""
    from harness.report.listing import diagnosis
    from harness.run.executors.local import probe

    with waiting("looking at the machine"):
        inventory = probe()
    print_rows(diagnosis(inventory), as_json)


@app.command()
def report(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="run folders")] = None,
    output: Page = Path("reports/latest.html"),
    latest: Annotated[bool, typer.Option("--latest", help="the newest run of the results folder")] = False,
    results: Results = Path("results"),
) -> None:
    """Write the page of one run or of several together."""
    from harness.report.page import write_page
    from harness.run.stored import find_runs, read_run

    folders = list(runs or ())
    if latest:
        folders += find_runs(results)[-1:]
    if not folders:
        where = f"no run in {results}" if latest else "no run folder given"
        raise HarnessError(f"report: {where}; expected RUN or --latest after `harness run SUITE.toml`")
    stored = [read_run(folder) for folder in folders]
    for each in stored:
        for warning in each.warnings:
            err.print(f"warning: {warning}", markup=False)
    write_page(stored, output)
    out.print(str(output), markup=False)
