"""`harness history`: a metric over commits with its change points, and the A/B that says what an alarm is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.ab import played
from harness.cli.terminal import AsJson, Plugins, Results, app, err, out, waiting, warn
from harness.schema.errors import HarnessError, StoreError, UnknownName

if TYPE_CHECKING:
    from harness.analyse.history import Series
    from harness.run.stored import StoredRun

Pair = tuple[str, str]
"""Commits before and after a change."""
REGRESSION = 1
"""Exit code where `--confirm` has shown one."""
Metric = Annotated[str, typer.Argument(metavar="METRIC", help="e.g. step_cpu_s, peak_allocated_bytes")]
Anchored = Annotated[
    bool, typer.Option("--baseline-is-anchor", help="also runs: the suite's baseline cell is the same code in all")
]


@app.command()
def history(
    metric: Metric,
    results: Results = Path("results"),
    cell: Annotated[str, typer.Option(help="only cells whose name holds this text")] = "",
    anchored: Anchored = False,
    confirm: Annotated[Path | None, typer.Option(metavar="SUITE.toml", help="run the A/B of each open alarm")] = None,
    plugin: Plugins = None,
    rounds: Annotated[int, typer.Option(min=6, help="confirming rounds of that A/B")] = 20,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="also write this HTML file")] = None,
) -> None:
    """Show a metric over commits, each against a control of its own session, with its change points marked."""
    _known(metric)
    found, warnings = _found(metric, results, cell, anchored)
    here, done = _of_this_machine(found) if confirm is not None else [], set[Pair]()
    while confirm is not None and _confirmed(here, confirm, results, tuple(plugin or ()), rounds, done):
        found, warnings = _found(metric, results, cell, anchored)
        here = [series for series in found if series.machine in {each.machine for each in here}]
    warn(warnings)
    if output is not None:
        from harness.report.history_page import write_history

        write_history(found, output, warnings, str(results))
    _show(found, results, as_json)
    if output is not None:
        (err if as_json else out).print(str(output), markup=False)
    if confirm is not None and any(change.standing == "regression" for each in found for change in each.changes):
        raise typer.Exit(REGRESSION)


def _show(found: list[Series], results: Path, as_json: bool) -> None:
    from harness.report.history_text import as_rows, tables

    if as_json:
        sys.stdout.write(json.dumps(as_rows(found, str(results)), indent=1, ensure_ascii=False) + "\n")
    else:
        out.print(tables(found, str(results)))


def _known(metric: str) -> None:
    from harness.schema.metrics import METRICS
    from harness.schema.metrics import metric as definition_of

    try:
        definition_of(metric)
    except KeyError:
        raise UnknownName("harness history", metric, METRICS) from None


def _found(metric: str, results: Path, cell: str, anchored: bool) -> tuple[list[Series], list[str]]:
    """The series of a metric, and what was left out. Raises HarnessError where there is none."""
    from harness.analyse.ab_sessions import read_sessions
    from harness.analyse.history_points import histories, metrics_of
    from harness.run.commits import commits

    warnings: list[str] = []
    sessions = read_sessions(results, warnings.append)
    runs = _runs(results, warnings) if anchored else []
    series = histories(metric, sessions, runs, commits(Path.cwd()), warnings.append)
    chosen = [each for each in series if cell.lower() in each.label.lower() or cell == each.cell]
    if chosen:
        return chosen, warnings
    warn(warnings)
    if series:
        raise UnknownName("--cell", cell, {each.label for each in series})
    there = metrics_of(sessions, runs)
    runs_too = f" and {len(runs)} runs" if anchored else " (runs count with --baseline-is-anchor)"
    raise HarnessError(
        f"no history of {metric} in {results}: {len(sessions)} sessions of harness ab{runs_too} were read; "
        + (f"they hold {', '.join(there)}" if there else "`harness ab --a CONTROL --b COMMIT SUITE.toml` makes them")
    )


def _runs(results: Path, warnings: list[str]) -> list[StoredRun]:
    """All runs that can be read, without the values of every step."""
    from harness.run.stored import find_runs, read_run

    found = []
    for folder in find_runs(results):
        try:
            found.append(read_run(folder, series=False))
        except StoreError as error:
            warnings.append(f"{error}; the run is left out")
            continue
        warnings += found[-1].warnings
    return found


def _confirmed(
    found: list[Series], suite: Path, results: Path, plugins: tuple[Path, ...], rounds: int, done: set[Pair]
) -> bool:
    """Play a session for each pair of commits that is to be asked next, its cells together; whether there was any.

    done: pairs that were played already; each is played once, whatever came of it.
    """
    from harness.run.invocation import Asked, command_line

    asked: dict[Pair, set[str]] = {}
    for series in found:
        for change in series.changes:
            if (around := series.next_around(change)) is not None:
                before, after = (point.commit for point in series.sides(change, around))
                asked.setdefault((before, after), set()).add(series.cell)
    left = {pair: cells for pair, cells in asked.items() if pair not in done}
    for pair, cells in left.items():
        err.print(f"confirming: {pair[0][:12]} against {pair[1][:12]}", markup=False)
        session, _judgements = played(pair, Asked(suite, results, plugins, command=command_line()), rounds, cells)
        err.print(f"kept in {session.folder}", markup=False)
        done.add(pair)
    return bool(left)


def _of_this_machine(found: list[Series]) -> list[Series]:
    """The series that a session here can say anything about; the changes of all others are told."""
    from harness.run.executors.local import probe

    if not any(series.changes for series in found):
        return []
    with waiting("looking at the machine"):
        here = probe().machine_key
    for series in found:
        if series.changes and series.machine != here:
            err.print(f"{series.label}: of machine {series.machine}, this is {here}: confirm it there", markup=False)
    return [series for series in found if series.machine == here]
