"""The trace files of a stored run, wherever they are, and laid out so that torch-tb-profiler lists them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.run.store import traces_name
from harness.run.stored import StoredRun
from harness.schema.record import Record

LISTED = re.compile(r".+_\d+\.\d+\.pt\.trace\.json\.gz")
"""Names by which the plugin finds a worker and its number. Source: torch_tb_profiler/consts.py, WORKER_PATTERN"""
RANK = re.compile(r"trace of rank (\d+)")


@dataclass(frozen=True)
class TraceFile:
    """The trace of one rank. name: of the cell's folder."""

    name: str
    rank: int
    path: Path


def trace_files(run: StoredRun) -> list[TraceFile]:
    """The traces of a run that are there, in stored order.

    Those of a trial that `--resume` took from an earlier run are in the folder of that run.
    """
    found = []
    for record in run.records:
        for what, path in record.artifacts.items():
            if rank := RANK.fullmatch(what):
                found.append(TraceFile(traces_name(record.trial), int(rank[1]), _folder(run, record) / path))
    return [each for each in found if each.path.is_file()]


def _folder(run: StoredRun, record: Record) -> Path:
    return run.folder.parent / record.resumed_from if record.resumed_from else run.folder


def lay_out(files: list[TraceFile], folder: Path) -> None:
    """Link every trace to `<cell>/<worker>.<number>.pt.trace.json.gz` in a folder; copied where links cannot be.

    What earlier versions stored as `<trial>-rank<n>.json.gz` gets such a name here.
    """
    for file in files:
        name = file.path.name
        if not LISTED.fullmatch(name):
            name = f"rank_{file.rank}.{int(file.path.stat().st_mtime)}.pt.trace.json.gz"
        target = folder / file.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.symlink_to(file.path.resolve())
        except OSError:
            shutil.copyfile(file.path, target)
