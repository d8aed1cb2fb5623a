"""Runs in the formats of other programs: a registry, each format a function from a stored run to a text."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from harness.analyse.frame import trials_frame
from harness.analyse.quantity import count
from harness.analyse.sides import of_run
from harness.report.export_folders import FOLDERS
from harness.report.export_pytest_benchmark import name_of, pytest_benchmark
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError, UnknownName
from harness.schema.measured import Measured
from harness.schema.metrics import metric as definition_of

Format = Callable[[StoredRun], str]
IDENTITY = ("trial_id", "cell", "group_label", "label", "strategy_label", "precision", "techniques", "recipe")
ENDING = ("seed", "repeat", "is_baseline", "status", "phase", "reason", "parity", "steady", "load_start")


def csv(run: StoredRun) -> str:
    """One row per trial, failed and impossible ones included: what it was, how it ended, and every metric.

    Metrics are columns of their names, which carry their units (SI); what a trial lacks is empty.
    """
    frame = trials_frame(run)
    placed = {"workload": "workload", "size": "size", "devices": "devices"}
    for position, (column, attribute) in enumerate(placed.items(), start=2):
        values = [getattr(record.trial, attribute) for record in frame["record"]]
        frame.insert(position, column, [getattr(value, "label", value) for value in values])
    metrics = sorted({name for record in frame["record"] for name in record.metrics})
    text: str = frame[[*IDENTITY[:2], *placed, *IDENTITY[2:], *ENDING, *metrics]].to_csv(
        index=False, lineterminator="\n"
    )
    return text


def smaller_is_better(run: StoredRun) -> str:
    """What github-action-benchmark calls `customSmallerIsBetter`: medians over rounds of metrics to be low.

    Source: https://github.com/benchmark-action/github-action-benchmark
    """
    return _entries(run, "lower")


def bigger_is_better(run: StoredRun) -> str:
    """The same as `customBiggerIsBetter`: rates, and other metrics to be high."""
    return _entries(run, "higher")


def _entries(run: StoredRun, better: str) -> str:
    cells: dict[str, list[Measured]] = {}
    for item in of_run(run):
        cells.setdefault(item.cell, []).append(item)
    entries = [entry for items in cells.values() for entry in _of_cell(items, name_of(items[0], cells), better)]
    if not entries:
        raise HarnessError(
            f"run folder {run.folder}: no trial ended well that has a metric whose better way is {better}"
        )
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_cell(items: list[Measured], cell: str, better: str) -> Iterator[dict[str, Any]]:
    """An entry per metric. How many rounds are behind it, and how many failed, stands in `extra`."""
    good = [item for item in items if item.status == "OK"]
    for name in dict.fromkeys(name for item in good for name in item.metrics):
        definition = definition_of(name)
        values = [value for item in good if (value := item.metrics.get(name)) is not None]
        if definition.better != better or not values:
            continue
        failed = f", {len(items) - len(good)} failed" if len(good) < len(items) else ""
        entry = {"name": f"{cell} {name}", "unit": definition.unit, "value": statistics.median(values)}
        if len(values) > 1:
            entry["range"] = f"± {statistics.stdev(values):.3g}"
        yield entry | {"extra": f"median of {count(len(values), 'round')}{failed}\n{definition.definition}"}


FORMATS: dict[str, Format] = {
    "csv": csv,
    "pytest-benchmark": pytest_benchmark,
    "github-action-benchmark": smaller_is_better,
    "github-action-benchmark-bigger": bigger_is_better,
}
"""Name → function. The first line of its docstring is what `--help` says of it."""


def export(run: StoredRun, name: str) -> str:
    """The run as text of that format. Raises UnknownName, and HarnessError where the run has nothing for it."""
    if name not in FORMATS:
        raise UnknownName("format", name, [*FORMATS, *FOLDERS], where="harness export", key="--format")
    if not any(record.trial.kind == "measure" for record in run.records):
        raise HarnessError(f"run folder {run.folder}: it has no trial, so there is nothing to export")
    return FORMATS[name](run)
