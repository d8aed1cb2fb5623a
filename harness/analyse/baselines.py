"""Stored baselines: the rounds of a suite on one machine, kept to be compared with. Replaced by command alone.

    results/baselines/<machine key>/<suite>.jsonl    measured rounds (`schema/measured`), a line per cell and round

Lines are sorted and hold what verdicts are made of, so that a change in version control is a small one. They are of one
session: later ones are compared with them through an anchor (the suite's baseline cell is marked as one).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analyse.criteria import criteria
from harness.analyse.measured_file import read_file
from harness.schema.errors import HarnessError, StoreError
from harness.schema.measured import Measured

FOLDER = "baselines"
"""In the results folder."""
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Change:
    """One cell, before and after. old, new: median of each metric; None: the cell is not there."""

    cell: str
    label: str
    old: dict[str, float] | None
    new: dict[str, float] | None
    old_rounds: int
    new_rounds: int

    @property
    def word(self) -> str:
        """added, removed, changed or equal."""
        if self.old is None or self.new is None:
            return "added" if self.old is None else "removed"
        return "equal" if (self.old, self.old_rounds) == (self.new, self.new_rounds) else "changed"


def baseline_of(measured: Sequence[Measured]) -> tuple[list[Measured], list[str]]:
    """What is kept of measured rounds, sorted, and which cells are left out and why.

    A cell with a round that did not end well is left out: the rounds that are left may be the lucky ones. Raises
    HarnessError where nothing is left, or the rounds are of several machines.
    """
    machines = sorted({item.machine for item in measured})
    if len(machines) > 1:
        raise HarnessError(f"a baseline is of one machine; found rounds of {', '.join(machines)}")
    bad: dict[str, str] = {}
    for item in measured:
        if item.status != "OK":
            bad.setdefault(item.cell, f"{item.label or item.cell}: round {item.round} ended {item.status}")
    kept = sorted((_kept(item) for item in measured if item.cell not in bad), key=lambda i: (i.cell, *_order(i.round)))
    if not kept:
        raise HarnessError("no cell of which all rounds ended well: there is nothing to keep as a baseline")
    return kept, list(bad.values())


def _kept(item: Measured) -> Measured:
    wanted = {criterion.metric for criterion in criteria(item.device)}
    return item.model_copy(
        update={"metrics": {name: item.metrics[name] for name in sorted(wanted & set(item.metrics))}}
    )


def _order(round_: str) -> tuple[tuple[bool, int, str], ...]:
    """`repeat 10` behind `repeat 9`."""
    parts = re.split(r"(\d+)", round_)
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)


def path_of(results: Path, machine: str, suite: str) -> Path:
    """Where the baseline of a suite on a machine is."""
    for name in (machine, suite):
        if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
            raise HarnessError(f"{name!r} is no name for a file of a baseline; expected letters, digits, . _ + -")
    return results / FOLDER / machine / f"{suite}{SUFFIX}"


def text_of(measured: Iterable[Measured]) -> str:
    """The file's content."""
    return "".join(item.model_dump_json(by_alias=True) + "\n" for item in measured)


def stored(path: Path) -> list[Measured]:
    """The rounds that are kept; none where there is no file. Raises InputError where it cannot be read."""
    return read_file(path) if path.exists() else []


def stored_paths(results: Path) -> list[Path]:
    """All baselines of a results folder, by machine and suite."""
    try:
        return sorted((results / FOLDER).glob(f"*/*{SUFFIX}"))
    except OSError as error:
        raise StoreError(f"results folder {results}: {error.filename or results}: {error.strerror}") from error


def difference(old: Sequence[Measured], new: Sequence[Measured]) -> list[Change]:
    """What becomes of each cell, removed ones last."""
    before, after = _by_cell(old), _by_cell(new)
    found = []
    for cell in dict.fromkeys([*after, *before]):
        one, other = before.get(cell, []), after.get(cell, [])
        label = (other or one)[0].label or cell
        found.append(Change(cell, label, _medians(one), _medians(other), len(one), len(other)))
    return found


def _by_cell(measured: Iterable[Measured]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for item in measured:
        found.setdefault(item.cell, []).append(item)
    return found


def _medians(items: Sequence[Measured]) -> dict[str, float] | None:
    if not items:
        return None
    names = sorted({name for item in items for name in item.metrics})
    values = {name: [value for item in items if (value := item.metrics.get(name)) is not None] for name in names}
    return {name: statistics.median(known) for name, known in values.items() if known}
