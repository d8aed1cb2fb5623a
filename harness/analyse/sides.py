"""The sides of a comparison, from a run folder or a file of measured rounds (JSON lines, see `schema/measured`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness.analyse.frame import cell_label, is_baseline
from harness.analyse.learned_rounds import learned_of
from harness.machine.environment import deciding
from harness.run.series_file import other_version
from harness.run.stored import StoredRun, read_run
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured
from harness.schema.record import SCHEMA_OLDEST, SCHEMA_VERSION, Record, Status

LEFT_OUT = frozenset({Status.UNSUPPORTED})
"""Endings that are no round: such a cell cannot run here, on either side."""
AB_FILE = "ab.json"
"""What a folder of `harness ab` has; its rounds are files."""


def read_side(path: Path, anchor: bool = False) -> tuple[list[Measured], list[str]]:
    """The measured rounds of a run folder or file, and what was not whole in it.

    anchor: the baseline cell of a run folder is one whose code is the same on both sides. Raises StoreError or
    InputError where nothing can be read, and where trials of a run are missing: what is left may be the lucky ones.
    """
    if not path.is_dir():
        return read_file(path), []
    if (path / AB_FILE).is_file():
        raise InputError([Problem(str(path), "", None, "one of its files: a.jsonl, b.jsonl or null.jsonl")])
    run = read_run(path)
    if problems := list(_not_whole(run)):
        raise InputError(problems)
    return of_run(run, anchor), run.warnings


def _not_whole(run: StoredRun) -> Iterator[Problem]:
    """Why no verdict is given of a run: it is not over, or trials of it are damaged, missing or there twice."""
    where = str(run.folder)
    if run.info.ended_at is None:
        expected = (
            "a run that has ended: this one still goes on, or was cut off (`harness run … --resume` does the rest)"
        )
        yield Problem(where, "ended_at", None, expected)
        return
    for warning in run.lost:
        yield Problem(warning, "", None, "a run whose trials are whole: no verdict is given of what is left")
    stored = sum(record.trial.kind == "measure" for record in run.records)
    if stored < run.info.planned and not run.lost:
        yield Problem(where, "", f"{stored} trials", f"all {run.info.planned} that were planned: it was interrupted")


def of_run(run: StoredRun, anchor: bool = False) -> list[Measured]:
    """One per trial that was started. A run is a session of its own where it names none."""
    started = [each for each in run.records if each.trial.kind == "measure" and each.status not in LEFT_OUT]
    return [_round(run, record, anchor) for record in started]


def _round(run: StoredRun, record: Record, anchor: bool) -> Measured:
    learned, figures = learned_of(run, record)
    return Measured(
        cell=record.trial.cell,
        label=_label(run, record),
        round=f"seed {record.trial.seed}, repeat {record.trial.repeat}",
        session=run.info.session or run.folder.name,
        machine=record.environment,
        environment=deciding(run.info.environment),
        status=record.status.value,
        reason=record.reason or "",
        anchor=anchor and is_baseline(run.info, record.trial),
        device=record.trial.device,
        learned=learned,
        metrics=record.metrics | figures,
    )


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
    others: set[int] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = _parsed(line)
            version = content.get("schema") if isinstance(content, dict) else None
            if isinstance(version, int) and other_version(version):
                others.add(version)  # its keys may be others: that it is another version says it all
                continue
            found.append(Measured.model_validate(content))
        except ValueError as error:
            problems += _problems(f"{path}:{number}", error)
    problems += [Problem(str(path), "schema", version, _expected(version)) for version in sorted(others)]
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
    except RecursionError as error:
        raise ValueError("a line of JSON that is not nested a thousand times") from error


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


def _expected(version: int) -> str:
    if version > SCHEMA_VERSION:
        return f"{SCHEMA_VERSION} at most: update the harness"
    return f"{SCHEMA_OLDEST} at least: an older version wrote it, measure again"
