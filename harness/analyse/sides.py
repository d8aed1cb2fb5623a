"""The sides of a comparison: from run folders, files of measured rounds and of pytest-benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.analyse import measured_file, pytest_benchmark
from harness.analyse.frame import cell_label, is_baseline
from harness.analyse.learned_rounds import learned_of
from harness.analyse.measured_file import EXPECTED, text_of, whole_json
from harness.analyse.record_file import read_record_file
from harness.machine.environment import deciding
from harness.run.store import RUN_FILE, SESSION_FILE
from harness.run.stored import StoredRun, read_run
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured
from harness.schema.record import Record, Status

LEFT_OUT = frozenset({Status.UNSUPPORTED})
"""Endings that are no round: such a cell cannot run here, on either side."""


def read_side(path: Path, anchor: bool = False) -> tuple[list[Measured], list[str]]:
    """The measured rounds of a run folder, its trials.jsonl, a file, or a folder of pytest-benchmark's files; and what
    was not whole.

    anchor: the baseline cell of a run folder is one whose code is the same on both sides. Raises StoreError or
    InputError where nothing can be read, and where trials of a run are missing: what is left may be the lucky ones.
    """
    if (path / SESSION_FILE).is_file():
        raise InputError([Problem(str(path), "", None, "one of its files: a.jsonl, b.jsonl or null.jsonl")])
    if path.is_dir() and not (path / RUN_FILE).is_file() and (files := saved_benchmarks(path)):
        return read_benchmarks(files, str(path.resolve()))
    run = read_run(path) if path.is_dir() else read_record_file(path)
    if run is None:
        return _of_file(path)
    if problems := list(_not_whole(run)):
        raise InputError(problems)
    return of_run(run, anchor), run.warnings


def _of_file(path: Path) -> tuple[list[Measured], list[str]]:
    text = text_of(path)
    content = whole_json(text)
    if pytest_benchmark.is_file_of(content):
        return pytest_benchmark.rounds_of({str(path): content})
    if isinstance(content, list) or (isinstance(content, dict) and "cell" not in content):
        found = f"an object of {', '.join(list(content)[:5]) or 'nothing'}" if isinstance(content, dict) else "a list"
        raise InputError([Problem(str(path), "", found, EXPECTED)])
    return measured_file.of_lines(path, text), []


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


def saved_benchmarks(folder: Path) -> list[Path]:
    """All JSON files of a folder and of those in it (one per interpreter); [] where none is of pytest-benchmark."""
    files = sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])
    return files if any(pytest_benchmark.is_file_of(whole_json(text_of(file))) for file in files) else []


def read_benchmarks(files: Sequence[Path], session: str) -> tuple[list[Measured], list[str]]:
    """The rounds of files of pytest-benchmark together, a session of that name. Raises InputError where one is none."""
    contents = {}
    for file in files:
        content = whole_json(text_of(file))
        if not pytest_benchmark.is_file_of(content):
            raise InputError([Problem(str(file), "", None, "a file of pytest-benchmark, as its neighbours")])
        contents[str(file)] = content
    return pytest_benchmark.rounds_of(contents, session if len(contents) > 1 else "")


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
