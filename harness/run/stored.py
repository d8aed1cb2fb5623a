"""The store, reading side: whatever state a run was left in, what is whole is read and what is not is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.run.search import Search
from harness.run.series_file import SERIES_FILES, json_lines, other_version, read_series
from harness.run.store import REFERENCES_FILE, RUN_FILE, RUNS, TRIALS_FILE
from harness.schema.errors import StoreError
from harness.schema.record import SCHEMA_VERSION, Record, RunInfo, Status, StepSeries

Warn = Callable[[str], None]
IN_COMMON = ("workload", "strategy", "precision", "techniques", "recipe")
"""Parts of a trial that many have alike, and that nobody changes."""


@dataclass
class StoredRun:
    """A run read back. series: by trial id, references included; warnings: what was not whole, with file and line;
    lost: those of them that are of trials, so that rounds may be missing or stand for others.
    """

    folder: Path
    info: RunInfo
    records: list[Record]
    references: list[Record] = field(default_factory=list)
    series: Mapping[str, StepSeries] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def read_run(folder: Path, series: bool = True) -> StoredRun:
    """Read a run folder. Damaged lines are left out and named in `warnings`; of equal trial ids the last wins.

    series: also the values of every step, which most of the time goes to.

    Raises StoreError where the folder or its run.json is missing or cannot be understood.
    """
    warnings: list[str] = []
    lost: list[str] = []
    try:
        info = _run_info(folder)
        records = read_records(folder / TRIALS_FILE, lost.append)
        references = read_records(folder / REFERENCES_FILE, warnings.append)
    except OSError as error:
        raise StoreError(f"run folder {folder}: {error.filename or folder}: {error.strerror or error}") from error
    warnings += _missing(folder)
    steps = read_series(folder, warnings.append) if series else {}
    return StoredRun(folder, info, records, references, steps, [*lost, *warnings], lost)


def _missing(folder: Path) -> list[str]:
    """Files that every run folder has, and this one lacks."""
    found = []
    if not (folder / TRIALS_FILE).exists():
        found.append(f"{folder / TRIALS_FILE}: is not there; no trial of the run can be read")
    if not any((folder / name).exists() for name in SERIES_FILES):
        found.append(f"{folder}: has none of {', '.join(SERIES_FILES)}; nothing is known step by step")
    return found


def _run_info(folder: Path) -> RunInfo:
    path = folder / RUN_FILE
    if not path.is_file():
        what = "has no run.json" if folder.is_dir() else "is not there" if not folder.exists() else "is not a folder"
        raise StoreError(f"run folder {folder} {what}: expected a folder that `harness run` wrote")
    try:
        info = RunInfo.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path}: cannot be understood ({where + ': ' if where else ''}{first['msg']})") from error
    if other := other_version(info.schema_version):
        mend = "update the harness" if info.schema_version > SCHEMA_VERSION else "run the suite again"
        raise StoreError(f"{path}: {other}: {mend}")
    return info


def read_records(path: Path, warn: Warn) -> list[Record]:
    """The records of a file, in the order of their first line; what is damaged is warned of and left out."""
    found: dict[str, Record] = {}
    asked: dict[tuple[str, str], Any] = {}
    for number, line in json_lines(path, warn):
        try:
            record = _record(line, asked)
        except ValidationError as error:
            first = error.errors()[0]
            warn(f"{path}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}; left out")
            continue
        if record.trial.id in found:
            warn(f"{path}:{number}: trial {record.trial.id} stands there more than once; the last one counts")
        found[record.trial.id] = record
    return list(found.values())


def _record(line: dict[str, Any], asked: dict[tuple[str, str], Any]) -> Record:
    """The record of a line. What trials have in common is one object for all of them: `asked` holds it by its text."""
    trial = line.get("trial")
    texts = {name: (name, repr(trial.get(name))) for name in IN_COMMON} if isinstance(trial, dict) else {}
    shared = {name: asked[text] for name, text in texts.items() if text in asked}
    record = Record.model_validate(line | {"trial": trial | shared} if isinstance(trial, dict) else line)
    for name, text in texts.items():
        asked.setdefault(text, getattr(record.trial, name))
    return record


def find_runs(results: Path) -> list[Path]:
    """All run folders of a results folder, oldest first; none where the folder does not exist."""
    try:
        return sorted(folder for folder in (results / RUNS).iterdir() if (folder / RUN_FILE).is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"results folder {results}: {error.filename or results}: {error.strerror}") from error


def find_record(results: Path, trial_id: str) -> tuple[Path, Record] | None:
    """The newest stored record of a trial and its run folder, or None."""
    for folder in reversed(find_runs(results)):
        for record in reversed(read_records(folder / TRIALS_FILE, lambda _message: None)):
            if record.trial.id == trial_id:
                return folder, record
    return None


def stored_ok(
    results: Path, machine_key: str, warn: Warn = lambda _message: None
) -> dict[str, tuple[Record, StepSeries | None]]:
    """What a resumed run need not execute again: by trial id, the newest OK record and its series.

    Only records of the same machine key count: a figure of another machine is no figure of this one.
    `resumed_from` is set to the run folder that executed the trial.
    """
    found: dict[str, tuple[Record, StepSeries | None]] = {}
    for folder in find_runs(results):
        try:
            run = read_run(folder)
        except StoreError as error:
            warn(str(error))
            continue
        for message in run.warnings:
            warn(message)
        for record in run.records:
            if record.status is Status.OK and record.environment == machine_key:
                origin = record.resumed_from or folder.name
                copy = record.model_copy(update={"resumed_from": origin})
                found[record.trial.id] = (copy, run.series.get(record.trial.id))
    return found


def stored_searches(results: Path, machine_key: str) -> dict[str, Search]:
    """By cell, the newest search on this machine that found a micro-batch: a resumed run goes on with it."""
    found = {}
    for folder in find_runs(results):
        for record in read_records(folder / TRIALS_FILE, lambda _message: None):
            if record.environment == machine_key and record.trial.searched and record.search:
                found[record.trial.cell] = Search(tuple(record.search), record.trial.micro_batch)
    return found


def past_seconds(results: Path, machine_key: str) -> dict[str, float]:
    """By cell, wall seconds of its newest executed trial on this machine: what an estimate goes by."""
    found = {}
    for folder in find_runs(results):
        for record in read_records(folder / TRIALS_FILE, lambda _message: None):
            if record.environment == machine_key and "trial_s" in record.metrics:
                found[record.trial.cell] = record.metrics["trial_s"]
    return found
