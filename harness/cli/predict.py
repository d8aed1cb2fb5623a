"""`harness predict`: how much memory each cell of a suite would take on a device, by kind, without running it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from harness.cli.terminal import AsJson, Devices, Plugins, SuiteFile, Where, app, print_summary, waiting
from harness.schema.errors import InputError, Problem

Memory = Annotated[str | None, typer.Option(help="of a device, as 80GiB, in place of the suite's memory_limit")]
WITHIN_S = 150.0
"""Seconds after which no further cell is predicted."""


@app.command()
def predict(
    suite: SuiteFile,
    plugin: Plugins = None,
    where: Where = None,
    devices: Devices = None,
    memory: Memory = None,
    as_json: AsJson = False,
) -> None:
    """Predict the memory of each cell per device, by kind, from shapes alone; --devices need not be there."""
    from harness.report import predict_console
    from harness.run.invocation import Asked, imagined
    from harness.run.predictions import predictions

    given = _bytes(memory)
    with waiting("working out shapes"):
        asked, cells = imagined(Asked(suite, plugins=tuple(plugin or ()), where=tuple(where or ()), devices=devices))
        limit = asked.budget.memory_limit_bytes if given is None else given
        possible = [cell for cell in cells if cell.reason is None]
        answers = iter(predictions([cell.trial for cell in possible], limit, WITHIN_S))
    found = [(cell, next(answers) if cell.reason is None else None) for cell in cells]
    if as_json:
        sys.stdout.write(json.dumps(predict_console.rows(found, limit), indent=1, ensure_ascii=False) + "\n")
    else:
        print_summary(predict_console.shown(found, limit))


def _bytes(memory: str | None) -> int | None:
    from harness.schema.memory_size import memory_bytes

    try:
        return None if memory is None else memory_bytes(memory)
    except ValueError as error:
        raise InputError([Problem("harness predict", "--memory", memory, str(error))]) from error
