"""Commands that show what there is: what is registered, what this machine has and what it can tell apart."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from harness.cli.terminal import (
    INTERRUPTED,
    NOTHING_MEASURED,
    AsJson,
    Plugins,
    app,
    err,
    print_rows,
    print_summary,
    waiting,
)


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
def doctor(
    noise: Annotated[bool, typer.Option("--noise", help="run identical code and say what can be told apart")] = False,
    seconds: Annotated[float, typer.Option(min=5, help="how long to run for that")] = 60,
    as_json: AsJson = False,
) -> None:
    """Say what this machine has, and what is missing for which feature; with --noise what it can tell apart."""
    from harness.report.listing import diagnosis
    from harness.run.executors.local import probe

    with waiting("looking at the machine"):
        inventory = probe()
    if noise:
        _tell_noise(inventory, seconds, as_json)
    else:
        print_rows(diagnosis(inventory), as_json)


def _tell_noise(inventory: Any, seconds: float, as_json: bool) -> None:
    from harness.analyse.noise import noise
    from harness.report import noise_console
    from harness.run.ab.identical import sample

    with waiting(f"running identical code against itself for about {seconds:.0f} s") as say:
        try:
            took = sample(inventory, seconds, lambda done, left: say(f"{done} rounds, {left:.0f} s to go"))
        except KeyboardInterrupt:
            err.print("interrupted; nothing is left of it", markup=False)
            raise typer.Exit(INTERRUPTED) from None
    found = noise(took.cell, took.rounds, took.round_s, (took.before, took.after), took.around, took.threads)
    if as_json:
        sys.stdout.write(json.dumps(noise_console.as_json(found), indent=1, ensure_ascii=False) + "\n")
    else:
        print_summary(noise_console.shown(found))
    if not found.clocks:
        raise typer.Exit(NOTHING_MEASURED)
