"""What all commands share: the application, both consoles, options of one meaning, and how errors are told."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console, RenderableType
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
STATUS_PER_S = 2
"""How often what turns while one waits is drawn: this process should cost next to nothing."""

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
        complain(*(str(problem) for problem in error.problems))
        sys.exit(error.exit_code)
    except HarnessError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted; nothing was started")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        complain(f"a fault of the harness itself: {type(error).__name__}: {error}", f"details: {_kept_traceback()}")
        sys.exit(2)


def _kept_traceback() -> str:
    """Write the traceback to a file, since a person's screen is no place for it; returns its path."""
    descriptor, path = tempfile.mkstemp(prefix="dynamometer-fault-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        traceback.print_exc(file=file)
    return path


def warn(warnings: Iterable[str]) -> None:
    """Tell of what was not whole, a line each."""
    for warning in warnings:
        err.print(f"warning: {warning}", markup=False)


def complain(*messages: str) -> None:
    """Tell of errors, a line each."""
    for message in messages:
        err.print(f"[red]error:[/red] {escape(message)}")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """Options of the harness itself."""
    if version:
        out.print(__version__)
        raise typer.Exit


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done while it is; gives what tells how far it is, which only a terminal shows."""
    if animated():
        with err.status(what, refresh_per_second=STATUS_PER_S) as status:
            yield lambda how_far: status.update(f"{what}: {how_far}")
    else:
        err.print(what, style="dim")
        yield lambda _how_far: None


class Watching(NamedTuple):
    """What a run tells as it goes on. watch: of trials while they run; None where nobody could see it."""

    observe: Callable[[Any], None]
    watch: Callable[[Any, Path], None] | None = None


@contextmanager
def watching(plan: Any, past: Mapping[str, float]) -> Iterator[Watching]:
    """A live matrix on a terminal (see `live`), plain lines at events elsewhere: no clock ticks there.

    past: by cell, seconds of earlier trials, which the time left goes by.
    """
    from harness.report.progress import Matrix, describe

    if not animated():
        yield Watching(lambda event: err.print(f"[{event.done}/{event.total}] {describe(event)}", markup=False))
        return
    from harness.cli.live import LiveView
    from harness.run.remaining import Remaining

    matrix = Matrix([*plan.trials, *(trial for trial, _reason in plan.unsupported)], Remaining(plan, past))
    with LiveView(matrix, err) as view:
        yield Watching(view.observe, view.watch)


def animated() -> bool:
    """FORCE_COLOR may colour a pipe but must not animate it; CI logs and dumb terminals get plain lines."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") not in (None, "dumb")


def print_summary(summary: RenderableType) -> None:
    """Print sentences and tables: fitted to a terminal, words kept whole; in a pipe lines stay as they are."""
    out.print(summary, soft_wrap=not sys.stdout.isatty())


def indexed(page: Path, results: Path) -> Path | None:
    """Write the index beside a page; where it is. What goes wrong there is told, and spoils nothing."""
    from harness.report.index import write_beside

    try:
        return write_beside(page, results)
    except HarnessError as error:
        err.print(f"warning: no index beside the page: {error}", markup=False)
        return None


def print_rows(rows: list[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print rows as a table, or as JSON for other programs."""
    from harness.report.listing import table

    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    else:
        out.print(table(rows, title))
