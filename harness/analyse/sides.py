"""The sides of a comparison, from a run folder, a file of measured rounds (JSON lines, see `schema/measured`), or files
of pytest-benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.analyse import pytest_benchmark
from harness.analyse.frame import cell_label, is_baseline
from harness.machine.environment import deciding
from harness.run.store import RUN_FILE
from harness.run.stored import StoredRun, read_run
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured
from harness.schema.record import SCHEMA_VERSION, Record, Status

EXPECTED = "a run folder, a file of measured rounds (JSON lines), or a file of pytest-benchmark"
LEFT_OUT = frozenset({Status.UNSUPPORTED})
"""Endings that are no round: such a cell cannot run here, on either side."""


def read_side(path: Path, anchor: bool = False) -> tuple[list[Measured], list[str]]:
    """The measured rounds of a run folder, a file, or a folder of pytest-benchmark's files, and what was not whole.

    anchor: the baseline cell of a run folder is one whose code is the same on both sides. Raises StoreError or
    InputError where nothing can be read.
    """
    if path.is_dir() and not (path / RUN_FILE).is_file() and (files := saved_benchmarks(path)):
        return read_benchmarks(files, str(path.resolve()))
    if path.is_dir():
        run = read_run(path)
        return of_run(run, anchor), run.warnings
    text = _text(path)
    content = _whole(text)
    if pytest_benchmark.is_file_of(content):
        return pytest_benchmark.rounds_of({str(path): content})
    if isinstance(content, list) or (isinstance(content, dict) and "cell" not in content):
        found = f"an object of {', '.join(list(content)[:5]) or 'nothing'}" if isinstance(content, dict) else "a list"
        raise InputError([Problem(str(path), "", found, EXPECTED)])
    return _lines(path, text), []


def saved_benchmarks(folder: Path) -> list[Path]:
    """All JSON files of a folder and of those in it (one per interpreter); [] where none is of pytest-benchmark."""
    files = sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])
    return files if any(pytest_benchmark.is_file_of(_whole(_text(file))) for file in files) else []


def read_benchmarks(files: Sequence[Path], session: str) -> tuple[list[Measured], list[str]]:
    """The rounds of files of pytest-benchmark together, a session of that name. Raises InputError where one is none."""
    contents = {}
    for file in files:
        content = _whole(_text(file))
        if not pytest_benchmark.is_file_of(content):
            raise InputError([Problem(str(file), "", None, "a file of pytest-benchmark, as its neighbours")])
        contents[str(file)] = content
    return pytest_benchmark.rounds_of(contents, session if len(contents) > 1 else "")


def _whole(text: str) -> object:
    """The text as one JSON value; None where it is none, or several lines of JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


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
    return _lines(path, _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError([Problem(str(path), "", None, f"{EXPECTED} ({why})")]) from error


def _lines(path: Path, text: str) -> list[Measured]:
    found: list[Measured] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                found.append(Measured.model_validate(_parsed(line)))
            except ValueError as error:
                problems += _problems(where, error)
    if not found and len(problems) > 1 and _whole(text.lstrip().partition("\n")[0]) is None:
        raise InputError(
            [Problem(str(path), "", text.lstrip().partition("\n")[0], EXPECTED)]
        )  # it is no JSON lines at all
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
