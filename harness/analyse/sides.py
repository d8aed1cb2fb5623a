"""The sides of a comparison, from a run folder or a file of measured rounds (JSON lines, see `schema/measured`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness.analyse.frame import cell_label, is_baseline
from harness.analyse.record_file import read_record_file
from harness.machine.environment import deciding
from harness.run.stored import StoredRun, read_run
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured
from harness.schema.record import SCHEMA_VERSION, Record, Status

LEFT_OUT = frozenset({Status.UNSUPPORTED})
"""Endings that are no round: such a cell cannot run here, on either side."""


def read_side(path: Path, anchor: bool = False) -> tuple[list[Measured], list[str]]:
    """The measured rounds of a run folder, its trials.jsonl or a file of such rounds, and what was not whole in it.

    anchor: the baseline cell of a run folder is one whose code is the same on both sides. Raises StoreError or
    InputError where nothing can be read.
    """
    run = read_run(path) if path.is_dir() else read_record_file(path)
    if run is not None:
        return of_run(run, anchor), run.warnings
    return read_file(path), []


def of_run(run: StoredRun, anchor: bool = False) -> list[Measured]:
    """One per trial that was started. A run is a session of its own where it names none."""
    session, environment = run.info.session or run.folder.name, deciding(run.info.environment)
    return [
        Measured(
            cell=record.trial.cell,
            label=_label(run, record),
            round=f"seed {record.trial.seed}, repeat {record.trial.repeat}",
            session=session,
            machine=record.environment,
            environment=environment,
            status=record.status.value,
            reason=record.reason or "",
            anchor=anchor and is_baseline(run.info, record.trial),
            device=record.trial.device,
            metrics=dict(record.metrics),
        )
        for record in run.records
        if record.trial.kind == "measure" and record.status not in LEFT_OUT
    ]


def _label(run: StoredRun, record: Record) -> str:
    main, options = cell_label(run.info, record.trial)
    return f"{record.trial.workload.label}/{record.trial.size} {main}{f' ({options})' if options else ''}"


def read_file(path: Path) -> list[Measured]:
    """The rounds of a file of JSON lines. Raises InputError with every line that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            [Problem(str(path), "", None, f"a run folder or a file of measured rounds ({why})")]
        ) from error
    found: list[Measured] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                found.append(Measured.model_validate(_parsed(line)))
            except ValueError as error:
                problems += _problems(where, error)
    problems += _newer(path, found)
    if not found and not problems:
        problems.append(Problem(str(path), "", None, "at least one measured round"))
    if problems:
        raise InputError(problems)
    return found


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"a whole line of JSON ({error.msg} at character {error.pos + 1})") from error


def _problems(where: str, error: ValueError) -> Iterator[Problem]:
    if not isinstance(error, ValidationError):
        yield Problem(where, "", None, str(error))
        return
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        if detail["type"] == "missing":
            yield Problem(where, key, None, "a value: it must be given")
        else:
            yield Problem(where, key, detail["input"], detail["msg"].removeprefix("Input should be "))


def _newer(path: Path, found: list[Measured]) -> list[Problem]:
    newest = max((item.schema_version for item in found), default=0)
    if newest <= SCHEMA_VERSION:
        return []
    return [Problem(str(path), "schema", newest, f"{SCHEMA_VERSION} at most: update the harness")]
