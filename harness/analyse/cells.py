"""Cells: the rounds of each put together, the Pareto front, and what they reached on held-out data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.analyse.evaluations import at_step, common_step, evaluated
from harness.analyse.ratios import Ratio, ranked
from harness.schema.metrics import metric as definition_of
from harness.schema.record import Record, RunInfo

SPEED = "samples_per_s"
MEMORY = "peak_allocated_bytes"


@dataclass(frozen=True)
class Cell:
    """A cell with its rounds put together.

    label: tells it from others of its group; main, options: the label in two parts; ok: rounds that ended OK, of
    `rounds`; endings: the other endings and how often, most frequent first; parity: passed where it was in an OK round;
    metrics: over the OK rounds, geometric mean of seconds, rates and bytes, arithmetic mean of all else; ratio: of its
    throughput to the baseline's, with verdict and why; memory: its peak memory ÷ the baseline's.
    """

    cell: str
    group: int
    label: str
    main: str
    options: str
    strategy: str
    precision: str
    is_baseline: bool
    ok: int
    rounds: int
    endings: dict[str, int]
    parity: str
    metrics: dict[str, float]
    ratio: Ratio | None
    verdict: str
    why: str
    memory: float | None

    @property
    def status(self) -> str:
        """OK where any round did, else the most frequent ending."""
        return "OK" if self.ok else next(iter(self.endings))

    @property
    def speed(self) -> float | None:
        """Throughput ÷ the baseline's; 1 for the baseline; None where either has none."""
        if self.is_baseline:
            return 1.0 if SPEED in self.metrics else None
        return self.ratio.value if self.ratio else None

    @property
    def shown(self) -> bool:
        """A difference to the baseline is shown."""
        return self.verdict in ("faster", "slower")


def cells_of(trials: pd.DataFrame, ratios: pd.DataFrame) -> list[Cell]:
    """The cells of `trials_frame` with the ratios of `ratios_frame`, in stored order."""
    means = _means(ranked(trials))
    speed = {row["cell"]: row for row in _rows(ratios[ratios["metric"] == SPEED])}
    memory = {row["cell"]: row["value"] for row in _rows(ratios[ratios["metric"] == MEMORY])}
    passed = set(ranked(trials).loc[lambda rows: rows["parity"] == "passed", "cell"])
    endings: dict[str, Counter[str]] = {}
    for cell, status in zip(trials["cell"], trials["status"], strict=True):
        endings.setdefault(str(cell), Counter())[str(status)] += 1
    return [
        _cell(row, endings[row["cell"]], means.get(row["cell"], {}), speed.get(row["cell"]), memory, passed)
        for row in _rows(trials.drop_duplicates("cell"))
    ]


def _cell(
    row: dict[str, Any],
    endings: Counter[str],
    metrics: dict[str, float],
    speed: dict[str, Any] | None,
    memory: dict[str, float],
    passed: set[str],
) -> Cell:
    named = ("cell", "group", "label", "main", "options", "strategy", "precision", "is_baseline")
    at_baseline = 1.0 if row["is_baseline"] and MEMORY in metrics else None
    return Cell(
        **{name: row[name] for name in named},
        ok=endings["OK"],
        rounds=endings.total(),
        endings={status: number for status, number in endings.most_common() if status != "OK"},
        parity="passed" if row["cell"] in passed else "unchecked",
        metrics=metrics,
        ratio=speed["ratio"] if speed else None,
        verdict=speed["verdict"] if speed else "",
        why=speed["why"] if speed else "",
        memory=memory.get(row["cell"], at_baseline),
    )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _means(trials: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By cell: its metrics put together, absent ones left out."""
    names = list(trials.columns[list(trials.columns).index("record") + 1 :])
    if trials.empty or not names:
        return {}
    values = trials.set_index("cell")[names].astype(float)
    means = values.groupby(level=0).mean()
    timed = [name for name in names if definition_of(name).unit in ("s", "1/s", "B")]
    logs = values[timed].where(values[timed] > 0).map(np.log).groupby(level=0).mean().map(np.exp)
    means[timed] = logs.fillna(means[timed])
    rows = means.to_dict("index")
    return {str(cell): {str(k): float(v) for k, v in row.items() if v == v} for cell, row in rows.items()}


def pareto(cells: Iterable[Cell]) -> set[str]:
    """Of the cells of one group, those that no other beats: none has at least its throughput in at most its memory
    and is better in one of them. Cells without both figures are not on the front.
    """
    known = [cell for cell in cells if SPEED in cell.metrics and MEMORY in cell.metrics]
    known.sort(key=lambda cell: (cell.metrics[MEMORY], -cell.metrics[SPEED]))
    front: set[str] = set()
    best, at = -np.inf, np.inf
    for cell in known:
        speed, memory = cell.metrics[SPEED], cell.metrics[MEMORY]
        if speed > best or (speed == best and memory == at):
            front.add(cell.cell)
            best, at = speed, memory
    return front


@dataclass(frozen=True)
class HeldOut:
    """Held-out metric of the cells of a group after the last step at which all of them were evaluated; that of a trial
    which had stopped early by then is its best.

    metric: name without `eval_`; higher: whether more is better; rounds: by cell, name and value of each OK round;
    target: that of all cells, None where they have different ones.
    """

    metric: str
    higher: bool
    step: int
    rounds: dict[str, list[tuple[str, float]]]
    target: float | None = None

    @property
    def name(self) -> str:
        """The metric in words."""
        return self.metric.replace("_", " ")

    @cached_property
    def values(self) -> dict[str, float]:
        """By cell: mean over its rounds."""
        return {cell: float(np.mean([value for _name, value in rounds])) for cell, rounds in self.rounds.items()}

    @property
    def best(self) -> str:
        """The cell with the best value."""
        values = self.values
        return (max if self.higher else min)(values, key=lambda cell: values[cell])

    @property
    def spread(self) -> float:
        """(largest − smallest) ÷ |mean| over cells."""
        values = list(self.values.values())
        mean = abs(float(np.mean(values)))
        return (max(values) - min(values)) / mean if mean else 0.0


def held_out(info: RunInfo, members: pd.DataFrame) -> HeldOut | None:
    """What the cells of a group (rows of `trials_frame`) reached on held-out data; None where nothing was evaluated."""
    trials = ranked(members)
    if trials.empty:
        return None
    facts = workload_facts(info, trials["record"].iloc[0])
    name = str(facts.get("metric", "loss"))
    records: list[Record] = list(trials["record"])
    step = common_step(records, name)
    if step is None:
        return None
    rounds: dict[str, list[tuple[str, float]]] = {}
    for cell, named, record in zip(trials["cell"], round_names(trials), records, strict=True):
        value = at_step(record, name, step) if evaluated(record, name) else None
        if value is not None:
            rounds.setdefault(str(cell), []).append((named, value))
    known = targets(info, records)
    return HeldOut(name, facts.get("better") == "higher", step, rounds, known[0] if len(known) == 1 else None)


def targets(info: RunInfo, records: Sequence[Record]) -> list[float]:
    """The targets of these records' workloads, ascending, each once: sizes of one workload may have their own."""
    known = {workload_facts(info, record).get("target") for record in records}
    return sorted(float(each) for each in known if each is not None)


def round_names(trials: pd.DataFrame) -> list[str]:
    """`round 1` for each trial, with its seed where there are several."""
    several = trials["seed"].nunique() > 1
    pairs = zip(trials["repeat"], trials["seed"], strict=True)
    return [f"round {repeat + 1}" + (f", seed {seed}" if several else "") for repeat, seed in pairs]


def workload_facts(info: RunInfo, record: Record) -> dict[str, Any]:
    """What run.json holds of the record's workload: unit, metric, better, target, …; empty where nothing."""
    trial = record.trial
    names = (f"{trial.workload.label}/{trial.size}", trial.workload.label, trial.workload.name)
    return next((info.workloads[name] for name in names if name in info.workloads), {})


def rate_metric(info: RunInfo, record: Record, cells: Sequence[Cell]) -> tuple[str, str]:
    """The metric and unit throughput is shown in: `tokens_per_s`, `token`; samples where the workload's is absent."""
    unit = str(workload_facts(info, record).get("unit", "sample"))
    name = f"{unit}s_per_s"
    return (name, unit) if any(name in cell.metrics for cell in cells) else (SPEED, "sample")
