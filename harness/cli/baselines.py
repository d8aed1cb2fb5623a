"""`harness baseline`: stored rounds to compare with, replaced by this command alone, which shows what changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import AsJson, Results, app, err, out, print_rows, warn
from harness.schema.errors import HarnessError

baseline = typer.Typer(no_args_is_help=True, help="Keep rounds to compare with, and show what is kept.")
app.add_typer(baseline, name="baseline")


@baseline.command()
def update(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder, or file of measured rounds")],
    suite_name: Annotated[str, typer.Option(help="name of the file; the suite's where a run folder is given")] = "",
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="write without asking")] = False,
) -> None:
    """Make a run the baseline of its suite on its machine. Shows what changes before anything is written."""
    from harness.analyse.baselines import baseline_of, difference, path_of, stored, text_of
    from harness.analyse.sides import read_side
    from harness.report.baseline_rows import change_rows
    from harness.report.whole_file import write_whole

    measured, warnings = read_side(run, anchor=True)
    kept, left_out = baseline_of(measured)
    path = path_of(results, kept[0].machine or "unknown", suite_name or _suite_of(run))
    changes = difference(stored(path), kept)
    warn([*warnings, *(f"left out: {text}" for text in left_out)])
    print_rows(change_rows(changes), False, f"{path}: {'new' if not path.exists() else 'what changes'}")
    if path.exists() and path.read_text(encoding="utf-8") == text_of(kept):
        err.print("nothing changes: the baseline is this run already", markup=False)
        return
    if not yes:
        _ask(path)
    write_whole(path, text_of(kept), "baseline")
    out.print(str(path), markup=False)


@baseline.command()
def show(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """Show what is kept: machine, suite, cells and their figures."""
    from harness.analyse.baselines import stored, stored_paths
    from harness.report.baseline_rows import kept_rows

    paths = stored_paths(results)
    if not paths:
        raise HarnessError(f"no baseline in {results / 'baselines'}; `harness baseline update RUN` keeps one")
    print_rows([row for path in paths for row in kept_rows(path, stored(path))], as_json)


def _suite_of(run: Path) -> str:
    """The suite's name, of a run folder or a file of its records."""
    from harness.run.store import RUN_FILE
    from harness.run.stored import read_run

    folder = run if run.is_dir() else run.parent
    if not (folder / RUN_FILE).is_file():
        raise HarnessError(f"{run} does not say of which suite it is; give --suite-name NAME")
    return Path(read_run(folder, series=False).info.suite_file).stem


def _ask(path: Path) -> None:
    """Ask a person. Raises HarnessError where there is none: a baseline never moves by itself."""
    if not sys.stdin.isatty():
        raise HarnessError(f"{path} is not written: nobody can be asked here; give --yes")
    if not typer.confirm(f"Write {path}?", err=True):
        raise HarnessError(f"{path} is not written")
