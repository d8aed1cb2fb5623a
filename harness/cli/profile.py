"""`harness profile`: the trace trials of a suite, or the traces of a stored run, opened in TensorBoard."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.terminal import (
    INTERRUPTED,
    NOTHING_MEASURED,
    AsJson,
    Devices,
    Plugins,
    Results,
    Where,
    app,
    complain,
    err,
    out,
    print_rows,
    waiting,
    warn,
    watching,
)
from harness.schema.errors import HarnessError

if TYPE_CHECKING:
    from harness.run.stored import StoredRun
    from harness.run.trace_files import TraceFile

COMMAND = "harness profile"
CHARTS = (
    "torch-tb-profiler needs some seconds per trace, and Google Charts, which the browser loads from gstatic.com; "
    "without a network open the files in chrome://tracing"
)
Profiled = Annotated[Path, typer.Argument(metavar="SUITE.toml|RUN", help="suite to trace, or run folder with traces")]
Serve = Annotated[bool, typer.Option("--serve/--no-serve", help="open them in TensorBoard; Ctrl-C ends it")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="port on 127.0.0.1; 0 takes any that is free")]


@app.command()
def profile(
    what: Profiled,
    results: Results = Path("results"),
    plugin: Plugins = None,
    where: Where = None,
    devices: Devices = None,
    serve: Serve = True,
    port: Port = 6006,
    as_json: AsJson = False,
) -> None:
    """Trace three steps of every cell and open them in TensorBoard on this machine; nothing is timed or ranked."""
    from harness.machine.packages import check_installed, extra
    from harness.report.traced_listing import traced
    from harness.run.stored import read_run
    from harness.run.tensorboard_server import NEEDED
    from harness.run.trace_files import trace_files

    if serve:
        check_installed(COMMAND, NEEDED, extra("trace"))  # before minutes are spent on what could not be shown
    folder = what if what.is_dir() else _traced(what, results, tuple(plugin or ()), tuple(where or ()), devices)
    stored = read_run(folder)
    warn(stored.warnings)
    files = trace_files(stored)
    rows = traced(stored)
    print_rows(rows if as_json else [{key: row[key] for key in row if key != "trace"} for row in rows], as_json)
    out.print(str(folder), markup=False)
    if not files:
        _nothing(stored)
    if serve:
        _served(files, port)


def _traced(suite: Path, results: Path, plugins: tuple[Path, ...], where: tuple[str, ...], devices: int | None) -> Path:
    """Run the suite's trace trials alone; the run folder."""
    from harness.run.invocation import Asked, carry_out, command_line, ready

    asked = Asked(suite, results, plugins, where, None, devices, command=command_line(), traces_only=True)
    with waiting("looking at the machine and checking the suite"):
        checked = ready(asked)
    err.print(f"{len(checked.plan.trials)} cells to trace, {len(checked.plan.unsupported)} impossible here")
    with watching(checked.plan, {}) as told:  # past trials were longer ones
        outcome = carry_out(asked, checked, told.observe, told.watch)
    if not outcome.finished:
        err.print(f"interrupted; the traces until then: {COMMAND} {outcome.folder}", markup=False)
        raise typer.Exit(INTERRUPTED)
    return outcome.folder


def _nothing(stored: StoredRun) -> None:
    """Say that there is no trace, and end with the code of a run in which nothing was measured."""
    tried = [record for record in stored.records if record.trial.kind == "trace"]
    if not tried:
        expected = "a run of a suite with [budget] trace = true, or a suite to trace"
        raise HarnessError(f"{COMMAND}: found no trace in {stored.folder}, expected {expected}")
    complain(f"nothing was traced: no trial of {len(tried)} left a trace; the reasons stand above")
    raise typer.Exit(NOTHING_MEASURED)


def _served(files: list[TraceFile], port: int) -> None:
    """Serve the traces until Ctrl-C, or until TensorBoard ends by itself."""
    from harness.run.executors.interrupts import terminated_is_interrupted
    from harness.run.tensorboard_server import serving
    from harness.run.trace_files import lay_out

    code = 0
    try:
        with terminated_is_interrupted(), tempfile.TemporaryDirectory(prefix="dynamometer-traces-") as folder:
            lay_out(files, Path(folder))
            with waiting("starting TensorBoard"):
                server = serving(Path(folder), port)
            with server as board:
                out.print(f"TensorBoard: {board.url}#pytorch_profiler (Ctrl-C ends it)", markup=False)
                err.print(CHARTS, style="dim")
                code = board.wait()
    except KeyboardInterrupt:
        err.print("TensorBoard is ended; the traces stay in the run folder", markup=False)
        return
    raise HarnessError(f"TensorBoard ended by itself (exit code {code})")
