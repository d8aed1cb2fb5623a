"""A session of pytest-benchmark against a saved one: found, compared by `analyse/compare`, and told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.analyse.compare import Judgement, compare
from harness.analyse.gate import MEANS, Outcome, gate
from harness.analyse.pytest_benchmark import ANCHOR, rounds_of
from harness.analyse.sides import read_benchmarks, read_side
from harness.report.comparison import comparison
from harness.schema.errors import InputError, Problem, nearest
from harness.schema.measured import Measured

STORAGE = Path("results/benchmarks")
VERSION = "5"
"""The session's own rounds are read as those of a file are; pytest-benchmark 5 is what made them."""
PIPE_WIDTH = 160
FILES = "a file or folder, or the number or name of a saved run"


@dataclass(frozen=True)
class Saved:
    """Saved runs of one machine: a folder per machine key, and in it pytest-benchmark's own per interpreter."""

    machine_key: str

    @property
    def folder(self) -> Path:
        """Where they are."""
        return STORAGE / self.machine_key

    def files(self) -> list[Path]:
        """All of them, oldest first."""
        return sorted(self.folder.glob("*/*.json"), key=lambda path: path.name)

    def named(self, asked: str) -> list[Path]:
        """Those of that name, else of that number (`0007` or `7`); several are several processes of one version."""
        named = [file for file in self.files() if _name(file) == asked]
        return named or [file for file in self.files() if asked.isdigit() and file.stem.split("_")[0] == asked.zfill(4)]


def _name(file: Path) -> str:
    """What `--benchmark-save` was given: `0007_NAME.json`."""
    return file.stem.partition("_")[2]


@dataclass
class Comparison:
    """One side is known from the start, the other at the end of the session. name: of the first, in words."""

    name: str
    before: list[Measured]
    warnings: list[str] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    outcome: Outcome = Outcome.NOTHING_MEASURED

    @classmethod
    def against(cls, asked: str, saved: Saved) -> Comparison:
        """Find and read the side that is there. Raises HarnessError where there is none, or none that can be read."""
        if Path(asked).exists():
            return cls(asked, *read_side(Path(asked)))
        files = saved.named(asked)
        if not files:
            known = [_name(file) for file in saved.files()]
            where = f"--harness-compare, runs saved in {saved.folder}"
            raise InputError([Problem(where, "", asked, FILES, nearest(asked, known))])
        return cls(", ".join(map(str, files)), *read_benchmarks(files, asked))

    def judge(self, benchmarks: list[dict[str, Any]], machine_info: dict[str, Any]) -> Outcome:
        """Compare what this session measured; what was not run in it is no part of the comparison."""
        if benchmarks:
            content = {"machine_info": machine_info, "benchmarks": benchmarks, "version": VERSION}
            after, warnings = rounds_of({"this session": content})
            self.warnings += warnings
            cells = {item.cell for item in after} | {ANCHOR}
            before = [item for item in self.before if item.cell in cells]
            self.judgements = compare(before, after)
            self.labels = {item.cell: item.label or item.cell for item in (*before, *after)}
        self.outcome = gate(self.judgements)
        return self.outcome

    def told(self, width: int = 0) -> Iterable[str]:
        """Warnings, the table and what the gate says, as lines; width: of the terminal, 0 where it is none."""
        yield from (f"warning: {warning}" for warning in self.warnings)
        console = Console(width=width or PIPE_WIDTH)
        text = "".join(part.text for part in console.render(comparison(self.judgements, self.labels)))
        yield from text.rstrip("\n").split("\n")
        yield f"gate: {MEANS[self.outcome]} (exit code {int(self.outcome)})"
