"""The command line: the only file that prints or exits. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from harness import __version__
from harness.schema.errors import HarnessError, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs every way to train your model side by side on this machine and says which to use.",
)
PIPE_WIDTH = 160
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130
NOTHING_MEASURED = 2

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE.toml", help="the question, as TOML")]
Results = Annotated[Path, typer.Option(help="folder that keeps all runs")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="Python file that registers something")]
Where = Annotated[list[str] | None, typer.Option(help="only cells with KEY=VALUE, e.g. strategy=ddp")]
Repeats = Annotated[int | None, typer.Option(min=1, help="rounds, instead of the suite's")]
Devices = Annotated[int | None, typer.Option(min=1, help="devices, instead of the suite's")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
Page = Annotated[Path, typer.Option("-o", "--output", help="HTML file to write")]


def main() -> None:
    """Run the command line; every foreseen error is one clear message and exit code 2."""
    try:
        app()
    except InputError as error:
        _complain(*(str(problem) for problem in error.problems))
        sys.exit(error.exit_code)
    except HarnessError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted; nothing was started")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _complain(f"a fault of the harness itself: {type(error).__name__}: {error}", f"details: {_kept_traceback()}")
        sys.exit(2)


def _kept_traceback() -> str:
    """Write the traceback to a file, since a person's screen is no place for it; returns its path."""
    descriptor, path = tempfile.mkstemp(prefix="dynamometer-fault-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        traceback.print_exc(file=file)
    return path


def _complain(*messages: str) -> None:
    for message in messages:
        err.print(f"[red]error:[/red] {escape(message)}")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """Options of the harness itself."""
    if version:
        out.print(__version__)
        raise typer.Exit


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
    with _waiting("looking at the machine and checking the suite"):
        checked = ready(asked)
    _announce(checked, results)
    with _watching(checked.plan) as observe:
        outcome = carry_out(asked, checked, observe)
    stored = read_run(outcome.folder)
    try:
        _show(stored, report)
    finally:
        out.print(str(outcome.folder), markup=False)
    if not outcome.finished:
        again = command_line() if resume else f"{command_line()} --resume"
        err.print(f"interrupted; everything measured until then is stored. To go on: {escape(again)}")
        raise typer.Exit(INTERRUPTED)
    if not any(record.status == "OK" for record in stored.records):
        _complain(f"nothing was measured: no trial of {len(stored.records)} ended OK")
        raise typer.Exit(NOTHING_MEASURED)


def _announce(checked: Any, results: Path) -> None:
    from harness.run.plan import estimate_s
    from harness.run.stored import past_seconds

    seconds, basis = estimate_s(checked.plan, past_seconds(results, checked.inventory.machine_key))
    trials, impossible = len(checked.plan.trials), len(checked.plan.unsupported)
    err.print(escape(checked.suite.question), style="bold")
    err.print(f"{trials} trials, {impossible} impossible here; about {seconds / 60:.1f} min ({escape(basis)})")


def _show(stored: Any, report: Path | None) -> None:
    from harness.report.console import run_summary

    out.print(run_summary(stored))
    if report is not None:
        from harness.report.page import write_page

        write_page(stored, report)
        out.print(f"page: {report}", markup=False)


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    if _animated():
        with err.status(what):
            yield
    else:
        err.print(what, style="dim")
        yield


@contextmanager
def _watching(plan: Any) -> Iterator[Callable[[Any], None]]:
    """A live matrix on a terminal, plain lines elsewhere. Drawn at events only: a ticking clock would take CPU time."""
    from harness.report.progress import Matrix, describe

    if not _animated():
        yield lambda event: err.print(f"[{event.done}/{event.total}] {describe(event)}", markup=False)
        return
    matrix = Matrix([*plan.trials, *(trial for trial, _reason in plan.unsupported)])
    with Live(matrix, console=err, auto_refresh=False, redirect_stdout=False) as live:

        def observe(event: Any) -> None:
            matrix.observe(event)
            live.refresh()

        yield observe


def _animated() -> bool:
    """FORCE_COLOR may colour a pipe but must not animate it; CI logs and dumb terminals get plain lines."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") not in (None, "dumb")


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

    with _waiting("looking at the machine and checking the suite"):
        checked = ready(Asked(suite, results, tuple(plugin or ()), tuple(where or ()), repeats, devices))
    _announce(checked, results)
    _print_rows(planned(checked.plan), as_json)


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
        _print_rows([row for each in kinds for row in registered(each)], as_json)
        return
    for each in kinds:
        _print_rows([{k: v for k, v in row.items() if k != "kind"} for row in registered(each)], False, each)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, and what is missing for which feature with the command that adds it."""
    from harness.report.listing import diagnosis
    from harness.run.executors.local import probe

    with _waiting("looking at the machine"):
        inventory = probe()
    _print_rows(diagnosis(inventory), as_json)


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
    _print_rows(compared(before, after), as_json)
    if not as_json:
        out.print(str(kept.folder), markup=False)


def _print_rows(rows: list[dict[str, Any]], as_json: bool, title: str = "") -> None:
    from harness.report.listing import table

    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    else:
        out.print(table(rows, title))


if __name__ == "__main__":
    main()
