"""Commands that hand stored runs to other programs, in their formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import app, out, warn
from harness.schema.errors import InputError, Problem


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, pytest-benchmark, github-action-benchmark (…-bigger: metrics to be high); tensorboard, mlflow: "
            "a folder",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="file or folder to write; else the text is printed")
    ] = None,
) -> None:
    """Write a run in a format of other programs: a table of all trials, benchmarks with rounds, curves by step."""
    from harness.report.export_folders import FOLDERS
    from harness.report.exports import export as exported
    from harness.report.whole_file import write_whole
    from harness.run.stored import read_run

    if format_ in FOLDERS and output is None:
        expected = f"a folder that is new or empty: {format_} is no text"
        raise InputError([Problem("harness export", "-o", None, expected)])
    stored = read_run(run)
    text = exported(stored, format_) if format_ not in FOLDERS else ""
    warn(stored.warnings)
    if format_ in FOLDERS and output is not None:
        FOLDERS[format_](stored, output)
        out.print(str(output), markup=False)
    elif output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)
