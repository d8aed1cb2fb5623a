"""The store, writing side: one folder per invocation and one writing process, so that no locks are needed.

    results/runs/<utc>-<host>-<pid>-<random>/
      run.json          what was asked, on what machine (RunInfo)
      trials.jsonl      one line per record, appended and fsynced
      references.jsonl  the same for the reference executions parity is checked against
      steps.jsonl       per-step series while running; steps.parquet (steps.npz without pyarrow) once finished
      traces/           what the profiler wrote in trace trials: a folder per cell, in it a file per rank
      artifacts/        what trained models made (a sample of sound), where a workload leaves any

A line is acknowledged when `append` returns: it is on disk then, whole, whatever happens to this process.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.run import series_file
from harness.schema.errors import StoreError
from harness.schema.record import Record, RunInfo, StepSeries
from harness.schema.trial import Trial

RUNS = "runs"
SESSIONS = "ab"
"""Folder of the sessions of `harness ab`, beside that of the runs."""
SESSION_FILE = "ab.json"
RUN_FILE = "run.json"
TRIALS_FILE = "trials.jsonl"
REFERENCES_FILE = "references.jsonl"
STEPS_FILE = "steps.jsonl"
TRACES = "traces"
ARTIFACTS = "artifacts"
BYTES_PER_TRIAL = 256 * 1024
"""Space asked for per planned trial before anything starts: a record of 2 ranks and 1,000 steps takes about 150 kB."""
BYTES_AT_LEAST = 16 * 1024 * 1024


class RunFolder:
    """The folder of one invocation, open for writing by this process alone."""

    def __init__(self, folder: Path, info: RunInfo):
        self.folder = folder
        self.info = info

    @classmethod
    def create(cls, results: Path, info: RunInfo) -> RunFolder:
        """Make `results/runs/<utc>-<host>-<pid>-<random>` with its run.json.

        Raises StoreError, with nothing left behind, where the folder cannot be made, written or has too little space.
        """
        with store_errors(results):
            missing = _first_missing(results / RUNS)
            try:
                (results / RUNS).mkdir(parents=True, exist_ok=True)
                _check_space(results, info.planned)
                return cls._made(results / RUNS / folder_name(), info)
            except (OSError, StoreError):
                _remove_empty(results / RUNS, missing)
                raise

    @classmethod
    def _made(cls, folder: Path, info: RunInfo) -> RunFolder:
        folder.mkdir()
        try:
            replace_file(folder / RUN_FILE, (info.model_dump_json(by_alias=True, indent=1) + "\n").encode())
            for name in (TRIALS_FILE, REFERENCES_FILE, STEPS_FILE):
                (folder / name).touch()
            _sync(folder)
            _sync(folder.parent)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(folder, info)

    def append(self, record: Record, series: StepSeries | None) -> None:
        """Keep a record and its series. On return both are on disk: steps first, so that no record lacks its series."""
        self._append(TRIALS_FILE, record, series)

    def append_reference(self, record: Record, series: StepSeries | None) -> None:
        """Keep a reference execution: not a trial of the plan, but what its parity was checked against."""
        self._append(REFERENCES_FILE, record, series)

    def _append(self, name: str, record: Record, series: StepSeries | None) -> None:
        with store_errors(self.folder):
            if series is not None:
                append_line(self.folder / STEPS_FILE, series.model_dump_json(by_alias=True))
            append_line(self.folder / name, record.to_line())

    def finish(self, *, parent_cpu_s: float | None = None) -> None:
        """Write the end into run.json and put the series into one compact file. May be called more than once."""
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.info = self.info.model_copy(update={"ended_at": ended, "parent_cpu_s": parent_cpu_s})
        with store_errors(self.folder):
            replace_file(self.folder / RUN_FILE, (self.info.model_dump_json(by_alias=True, indent=1) + "\n").encode())
            series_file.compact(self.folder / STEPS_FILE)
            _sync(self.folder)


def folder_name() -> str:
    """A name that no other invocation has: time (UTC), host, process id, random digits."""
    host = re.sub(r"[^A-Za-z0-9_.]+", "_", socket.gethostname())[:40] or "host"
    now = datetime.now(UTC)
    utc = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"
    return f"{utc}-{host}-{os.getpid()}-{secrets.token_hex(3)}"


def traces_name(trial: Trial) -> str:
    """The folder of a trial's traces, and so the name of the run in TensorBoard: the cell, and the trial's id.

    `gpt-nano_ddp_bf16-1a2b3c4d5e6f`
    """
    cell = trial.model_copy(update={"kind": "measure"}).label
    return f"{file_name(cell)}-{trial.id}"


def file_name(label: str) -> str:
    """A label as the name of a file or folder: `gpt/nano ddp bf16` → `gpt-nano_ddp_bf16`."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", label.replace(" ", "_"))[:120].strip("-._") or "trial"


def append_line(path: Path, line: str) -> None:
    """Append one line by a single write and wait until it is on disk.

    A write cut short (full disk) is taken back before the error is raised, so that the next line starts clean.
    """
    data = line.encode("utf-8", errors="replace") + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that at any moment either the old or the new content is there whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What cannot be written becomes a StoreError that names the results folder."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StoreError(f"results folder {path}: {where}: {error.strerror or error}") from error


def _check_space(results: Path, planned: int) -> None:
    needed = max(BYTES_AT_LEAST, planned * BYTES_PER_TRIAL)
    free = shutil.disk_usage(results).free
    if free < needed:
        raise StoreError(
            f"results folder {results}: {free / 2**20:.1f} MiB free, expected at least {needed / 2**20:.0f} MiB "
            f"for {planned} trials: free some space or choose another folder with --results"
        )


def _first_missing(folder: Path) -> Path | None:
    """The outermost folder of this path that does not exist yet."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    return missing[-1] if missing else None


def _remove_empty(folder: Path, outermost: Path | None) -> None:
    """Take back the folders that were made from `outermost` down to `folder`, as far as they are empty."""
    while outermost is not None and (folder == outermost or outermost in folder.parents):
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
