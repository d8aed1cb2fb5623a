"""Files of pytest-benchmark made by hand, so that a test knows what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.report.export_pytest_benchmark import statistics_of

STEP_S, ANCHOR_S = 0.02, 0.002


def a_benchmark(
    name: str = "b.py::bench[ddp]", rounds: int = 8, slower: float = 1.0, machine: float = 1.0, seed: int = 1,
    anchored: bool = True, fresh: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Rounds of fresh processes. machine: what slows all down in this session, the anchor too."""
    draw = np.random.default_rng((seed, len(name)))
    moment = np.exp(draw.normal(0, 0.1, rounds)) * machine
    wall, cpu, anchor = (np.exp(draw.normal(0, 0.01, rounds)) * moment for _ in range(3))
    told: dict[str, Any] = {"fresh": fresh, "cpu_s": [float(v) for v in cpu * STEP_S * slower]}
    if anchored:
        beside = [float(v) for v in anchor * ANCHOR_S]
        told |= {"anchor_s": beside, "anchor_cpu_s": beside}
    if not fresh:
        told = {key: values[:1] if isinstance(values, list) else values for key, values in told.items()}
    stats = statistics_of([float(v) for v in wall * STEP_S * slower])
    return {"fullname": name, "name": name, "group": None, "extra_info": {"harness": told}, "stats": stats}


def a_file(*benchmarks: dict[str, Any], key: str | None = "m", **changes: Any) -> dict[str, Any]:
    """A file with these benchmarks, of the machine of that key, or of one that the harness does not know."""
    cpu = {"brand_raw": "X", "arch": "X86_64", "count": 2, "hz_actual_friendly": "2.1 GHz"}
    info: dict[str, Any] = {"node": "here", "machine": "x86_64", "python_version": "3.11.2", "cpu": cpu}
    if key is not None:
        info["harness"] = {"machine_key": key, "device": "cpu", "environment": {"cpu_model": key}}
    content = {"machine_info": info, "benchmarks": list(benchmarks) or [a_benchmark()], "version": "5.3.1"}
    return {**content, "commit_info": {}, "datetime": "2026-01-01T00:00:00+00:00", **changes}
