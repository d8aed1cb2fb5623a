"""A study: one run with all that is computed from it, so that sentences, pictures and tables say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from harness.analyse.cells import SPEED, Cell, HeldOut, cells_of, held_out, pareto, rate_metric
from harness.analyse.frame import trials_frame
from harness.analyse.learning import Learning, learning_of
from harness.analyse.quantity import SPACE, count
from harness.analyse.ratios import Noise, noise_floor, ratios_frame
from harness.analyse.traces import traces_of, with_traces
from harness.run.stored import StoredRun
from harness.schema.record import Record


@dataclass(frozen=True)
class Group:
    """Cells that are compared with one another.

    label: `gpt/nano`; place: the devices; trials: rows of `trials_frame`; rate, unit: the metric throughput is shown in
    and its unit of work; front: cells on the Pareto front of throughput and memory; learning: what was learned, where
    the group is about that and not about speed.
    """

    number: int
    label: str
    place: str
    trials: pd.DataFrame
    cells: list[Cell]
    rate: str
    unit: str
    held_out: HeldOut | None
    front: set[str]
    learning: Learning | None = None

    @cached_property
    def same_batch(self) -> bool:
        """Whether all cells train on as many samples a step: else what they learn per step is not compared."""
        return len({record.trial.global_batch for record in self.trials["record"]}) == 1

    @cached_property
    def ranking(self) -> list[Cell]:
        """Cells with throughput, fastest first: by the ratio to the baseline, by throughput where one has none."""
        known = [cell for cell in self.cells if SPEED in cell.metrics]
        if any(cell.speed is None for cell in known):
            return sorted(known, key=lambda cell: -cell.metrics[SPEED])
        return sorted(known, key=lambda cell: -(cell.speed or 0.0))

    @property
    def order(self) -> list[Cell]:
        """All cells: the ranking, then those without throughput in stored order."""
        return [*self.ranking, *(cell for cell in self.cells if SPEED not in cell.metrics)]

    @property
    def baseline(self) -> Cell | None:
        """The baseline, or None where the group has no such cell."""
        return next((cell for cell in self.cells if cell.is_baseline), None)

    def with_metric(self, name: str) -> list[Cell]:
        """Cells of the ranking that have a metric."""
        return [cell for cell in self.ranking if name in cell.metrics]

    def named(self, cell: str) -> Cell:
        """The cell with this hash. Raises KeyError."""
        return self._by_hash[cell]

    @cached_property
    def _by_hash(self) -> dict[str, Cell]:
        return {cell.cell: cell for cell in self.cells}


@dataclass(frozen=True)
class Study:
    """A run with its tables. ratios: `ratios_frame`; noise: None where no cell has two rounds."""

    run: StoredRun
    trials: pd.DataFrame
    ratios: pd.DataFrame
    groups: list[Group]
    noise: Noise | None

    @property
    def ok(self) -> int:
        """Trials that ended OK."""
        return int((self.trials["status"] == "OK").sum())

    @property
    def failures(self) -> pd.DataFrame:
        """Trials that were started and did not end OK."""
        return self.trials[~self.trials["status"].isin(["OK", "UNSUPPORTED"])]

    @property
    def unsupported(self) -> pd.DataFrame:
        """Trials that cannot run here."""
        return self.trials[self.trials["status"] == "UNSUPPORTED"]


def study(run: StoredRun) -> Study:
    """Compute everything from a run."""
    trials = trials_frame(run)
    ratios = ratios_frame(trials)
    cells = with_traces(cells_of(trials, ratios), traces_of(run))
    groups = [_group(run, number, trials, cells) for number in sorted({cell.group for cell in cells})]
    return Study(run, trials, ratios, groups, noise_floor(trials))


def _group(run: StoredRun, number: int, trials: pd.DataFrame, cells: list[Cell]) -> Group:
    members, own = trials[trials["group"] == number], [cell for cell in cells if cell.group == number]
    records: list[Record] = list(members["record"])
    rate, unit = rate_metric(run.info, records[0], own)
    label, several = str(members["group_label"].iloc[0]), len({record.trial.global_batch for record in records}) > 1
    found = None if several else held_out(run.info, members)
    about = learning_of(run, members, own, found)
    return Group(number, label, place_of(records), members, own, rate, unit, found, pareto(own), about)


def place_of(records: Iterable[Record]) -> str:
    """The devices cells of a group had: `2 × NVIDIA H200`, `1 of 2 × CPU share (1 core each)` where none used more."""
    records = list(records)
    slots = records[0].trial.device_slots
    used = max(record.trial.devices * record.trial.shares for record in records)
    of = f"{used}{SPACE}of{SPACE}" if used < slots else ""
    ranks = [rank for record in records for rank in record.per_rank]
    if records[0].trial.device != "cpu":
        name = next((rank.device for rank in ranks if rank.device), records[0].trial.device)
        return f"{of}{slots}{SPACE}× {name}"
    cores = len({core for rank in ranks for core in rank.cores})
    each = f" ({count(cores // slots, 'core')}{' each' if slots > 1 else ''})" if cores >= slots else ""
    return f"{of}{slots}{SPACE}× CPU share{each}" if slots > 1 else f"CPU{each}"
