"""Commands that hand stored runs to other programs, in their formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import app, err


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    format_: Annotated[
        str,
        typer.Option("--format", help="csv, pytest-benchmark, github-action-benchmark (…-bigger: metrics to be high)"),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="file to write; else it is printed")] = None,
) -> None:
    """Write a run in a format of other programs: a table of all trials, or benchmarks with their rounds."""
    from harness.report.exports import export as exported
    from harness.report.whole_file import write_whole
    from harness.run.stored import read_run

    stored = read_run(run)
    text = exported(stored, format_)
    for warning in stored.warnings:
        err.print(f"warning: {warning}", markup=False)
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)
