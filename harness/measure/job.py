"""What one rank is told: the trial, its place in it and where to leave its result. Plain JSON."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from harness.schema.record import RankResult
from harness.schema.trial import Trial


class Job(BaseModel):
    """One rank's order. folder: work folder shared by the ranks; init: where they meet (torch's init_method)."""

    trial: Trial
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    folder: str
    init: str = ""
    cores: list[int] = []
    """cores to run on; empty: as they are"""
    threads: int = 1
    started: float = 0.0
    """time.monotonic() when the trial was started, same machine; 0: unknown"""
    loopback: bool = True
    """ranks are on one machine: communicate over the loopback interface"""

    def result_path(self) -> Path:
        """Where the rank's result stands, during and after."""
        return result_path(Path(self.folder), self.rank)

    def temporary_folder(self) -> str:
        """Where the rank's temporary files go; removed when it ends, with the trial's folder where it is killed."""
        folder = Path(self.folder) / f"temporary-{self.rank}"
        folder.mkdir(exist_ok=True)
        return str(folder)


def result_path(folder: Path, rank: int) -> Path:
    """Where a rank's result stands."""
    return folder / f"rank-{rank}.json"


def trace_folder(folder: Path, rank: int) -> Path:
    """Where a rank leaves its trace."""
    return folder / f"trace-rank{rank}"


def artifacts_folder(folder: Path, rank: int) -> Path:
    """Where a rank leaves what its trained model makes."""
    return folder / f"artifacts-rank{rank}"


def write_result(path: Path, result: RankResult) -> None:
    """Write a rank's result whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(result.model_dump_json())
    os.replace(part, path)
