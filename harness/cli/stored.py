"""Commands about stored runs: what they say, in the terminal, on a page, and all of them on an index."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.terminal import AsJson, Page, Results, app, complain, indexed, out, print_summary, warn
from harness.schema.errors import HarnessError

if TYPE_CHECKING:
    from harness.run.stored import StoredRun

Runs = Annotated[list[Path] | None, typer.Argument(metavar="RUN...", help="run folders; for a page also a session")]
Latest = Annotated[bool, typer.Option("--latest", help="the newest run of the results folder")]


@app.command()
def report(
    runs: Runs = None,
    output: Page = Path("reports/latest.html"),
    latest: Latest = False,
    results: Results = Path("results"),
) -> None:
    """Write the page of one run or of several together, or of a session of `harness ab`, and the index beside it."""
    folders = _folders("report", runs, latest, results)
    if not _is_session(folders):
        _write_runs(folders, output)
    else:
        write_session(folders[0], output)
    indexed(output, _results_of(folders[0], results))
    out.print(str(output), markup=False)


def _is_session(folders: list[Path]) -> bool:
    """Whether this is a session. Raises HarnessError where there is one among others."""
    from harness.run.store import SESSION_FILE

    sessions = [folder for folder in folders if (folder / SESSION_FILE).is_file()]
    if sessions and len(folders) > 1:
        raise HarnessError(
            f"report: found {sessions[0]}, a session of `harness ab`, among {len(folders)} folders; "
            "expected it alone: it has a page of its own"
        )
    return bool(sessions)


def _write_runs(folders: list[Path], output: Path) -> None:
    from harness.report.page import write_page
    from harness.run.stored import read_run

    stored = [read_run(folder) for folder in folders]
    for each in stored:
        warn(each.warnings)
    write_page(stored, output)


def write_session(folder: Path, output: Path) -> None:
    """Write the page of a stored session of `harness ab`."""
    from harness.analyse.ab_sessions import read_session
    from harness.report.ab_page import write_ab

    write_ab(read_session(folder), output)


@app.command()
def show(
    runs: Runs = None, latest: Latest = False, results: Results = Path("results"), as_json: AsJson = False
) -> None:
    """Show what stored runs say: the answer, the ranking, failures, what speaks against the figures."""
    from harness.run.stored import read_run

    stored, damaged = [], []
    for folder in _folders("show", runs, latest, results):
        try:
            stored.append(read_run(folder))
        except HarnessError as error:
            damaged.append(str(error))
    if as_json:
        sys.stdout.write(json.dumps([_as_json(each) for each in stored], indent=1, ensure_ascii=False) + "\n")
    else:
        for each in stored:
            _show(each, several=len(stored) > 1)
    complain(*damaged)
    if damaged:
        raise typer.Exit(HarnessError.exit_code)


@app.command()
def index(
    results: Results = Path("results"),
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write")] = Path("reports/index.html"),
) -> None:
    """Write a page with all runs of a results folder, newest first, each with what it said."""
    from harness.report.index import write_index

    if not results.is_dir():
        raise HarnessError(f"index: found no folder {results}, expected a results folder of `harness run`")
    write_index(results, output)
    out.print(str(output), markup=False)


def _folders(command: str, runs: list[Path] | None, latest: bool, results: Path) -> list[Path]:
    """The run folders that were named. Raises HarnessError where there is none."""
    from harness.run.stored import find_runs

    folders = list(runs or ())
    if latest:
        folders += find_runs(results)[-1:]
    if not folders:
        where = f"no run in {results}" if latest else "no run folder given"
        raise HarnessError(f"{command}: {where}; expected RUN or --latest after `harness run SUITE.toml`")
    return folders


def _results_of(folder: Path, otherwise: Path) -> Path:
    """The results folder that a run or a session is in."""
    from harness.run.store import RUNS, SESSIONS

    parent = folder.resolve().parent
    return parent.parent if parent.name in (RUNS, SESSIONS) else otherwise


def _show(run: StoredRun, several: bool) -> None:
    from rich.text import Text

    from harness.report.console import run_summary
    from harness.report.text import clip

    print_summary(Text(clip(run.info.question, 300), style="bold"))
    if several:
        out.print(Text(str(run.folder), style="dim"))
    print_summary(run_summary(run))
    if several:
        out.print()


def _as_json(run: StoredRun) -> dict[str, Any]:
    from harness.analyse.study import study
    from harness.report.run_facts import as_json

    return as_json(study(run))
