"""A run as a file of pytest-benchmark: a benchmark per cell, whose rounds are the rounds of the run.

`pytest-benchmark compare` opens it, and `harness compare` reads it back with the pairs of rounds that it had.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analyse.sides import of_run
from harness.machine.environment import deciding
from harness.run.stored import StoredRun
from harness.schema.benchmark_rounds import KEY, BenchmarkRounds
from harness.schema.errors import HarnessError
from harness.schema.measured import Measured

VERSION = "5.3.1"
"""Of pytest-benchmark: whose files these are like."""


def pytest_benchmark(run: StoredRun) -> str:
    """Seconds of a step per round; cells without a round that ended well are left out: there is no time to put in.

    Rounds that failed stand in `extra_info`. Source: https://pytest-benchmark.readthedocs.io/en/latest/
    """
    cells: dict[str, list[Measured]] = {}
    for item in of_run(run):
        cells.setdefault(item.cell, []).append(item)
    found = [_benchmark(items, name_of(items[0], cells)) for items in cells.values() if any(map(_timed, items))]
    if not found:
        raise HarnessError(f"run folder {run.folder}: no trial ended well, so there are no rounds to export")
    content = {
        "machine_info": _machine_info(run),
        "commit_info": _commit_info(run),
        "benchmarks": found,
        "datetime": run.info.started_at,
        "version": VERSION,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _timed(item: Measured) -> bool:
    return item.status == "OK" and item.metrics.get("step_s") is not None


def name_of(item: Measured, cells: dict[str, list[Measured]]) -> str:
    """The cell in words; with its hash where another cell has the same words."""
    alike = [cell for cell, items in cells.items() if items[0].label == item.label]
    return f"{item.label} {item.cell}" if len(alike) > 1 else item.label


def _benchmark(items: Sequence[Measured], name: str) -> dict[str, Any]:
    good = [item for item in items if _timed(item)]
    cpu = [item.metrics.get("step_cpu_s") for item in good]
    told = BenchmarkRounds(
        fresh=True,
        cpu_s=tuple(value for value in cpu if value is not None) if None not in cpu else (),
        names=tuple(item.round for item in good),
        failed={item.round: f"{item.status}: {item.reason}" for item in items if item.status != "OK"},
        session=items[0].session,
        device=items[0].device,
    )
    return {
        "group": "training step",
        "name": name,
        "fullname": name,
        "params": None,
        "param": None,
        "extra_info": {KEY: told.model_dump(mode="json")},
        "options": {"timer": "harness"},
        "stats": statistics_of([float(item.metrics["step_s"] or 0.0) for item in good]),
    }


def statistics_of(data: Sequence[float]) -> dict[str, Any]:
    """What pytest-benchmark keeps of a benchmark's rounds, under its names.

    Quartiles are medians of halves; outliers: rounds beyond one standard deviation; beyond 1.5 interquartile ranges.
    Source: https://github.com/ionelmc/pytest-benchmark/blob/master/src/pytest_benchmark/stats.py
    """
    mean, deviation = statistics.mean(data), statistics.stdev(data) if len(data) > 1 else 0.0
    q1, median, q3 = (float(each) for each in np.quantile(data, (0.25, 0.5, 0.75), method="hazen"))
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond_deviation = sum(abs(value - mean) > deviation for value in data)
    beyond_range = sum(not low <= value <= high for value in data)
    inside = [value for value in data if low <= value <= high]
    return {
        "min": min(data), "max": max(data), "mean": mean, "stddev": deviation, "rounds": len(data),
        "median": median, "iqr": q3 - q1, "q1": q1, "q3": q3, "iqr_outliers": beyond_range,
        "stddev_outliers": beyond_deviation, "outliers": f"{beyond_deviation};{beyond_range}",
        "ld15iqr": min(inside), "hd15iqr": max(inside), "ops": 1 / mean if mean else 0.0, "total": sum(data),
        "data": list(data), "iterations": 1,
    }  # fmt: skip


def machine_facts(machine_key: str, environment: dict[str, Any], device: str) -> dict[str, Any]:
    """What the harness adds to a file's `machine_info`: only what stays the same from run to run."""
    cores = environment.get("cores")
    return {
        "machine_key": machine_key,
        "device": device,
        "devices": environment.get("accelerator_names") or [environment.get("cpu_model", "cpu")],
        "cores": len(cores) if isinstance(cores, list) else None,
        "torch": environment.get("torch"),
        "environment": deciding(environment),
    }


def _machine_info(run: StoredRun) -> dict[str, Any]:
    known = run.info.environment
    device = run.records[0].trial.device if run.records else "cpu"
    python = str(known.get("python", " ")).partition(" ")
    cores = known.get("cores_of_machine")
    return {
        "node": known.get("host", ""),
        "processor": known.get("cpu_model", ""),
        "machine": known.get("architecture", ""),
        "python_implementation": python[2],
        "python_version": python[0],
        "release": str(known.get("kernel", "")).partition(" ")[2],
        "system": str(known.get("kernel", "")).partition(" ")[0],
        "cpu": {"brand_raw": known.get("cpu_model", ""), "arch": known.get("architecture", ""), "count": cores},
        KEY: machine_facts(run.info.machine_key, known, device),
    }


def _commit_info(run: StoredRun) -> dict[str, Any]:
    known = run.info.environment
    return {
        "id": known.get("git_commit", known.get("harness_commit", "unversioned")),
        "time": None,
        "author_time": None,
        "dirty": bool(known.get("git_dirty", known.get("harness_dirty", False))),
        "project": "",
        "branch": "",
    }
