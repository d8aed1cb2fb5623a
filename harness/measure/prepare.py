"""Build a workload once, before any trial: its data are cached, and the page learns what it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.schema.registry import load_plugin
from harness.workloads import registry


def prepare(workload_json: str) -> dict[str, Any]:
    """Return unit, metric, target, data and trivial baselines of a workload, or `error` with one line.

    workload_json: name, size, options, plugins (paths).
    """
    asked = json.loads(workload_json)
    try:
        for path in asked["plugins"]:
            load_plugin(Path(path))
        entry = registry[asked["name"]]
        workload = entry.function(asked["size"], **asked["options"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    facts = entry.facts
    return {
        "unit": facts.unit,
        "metric": facts.metric,
        "better": facts.better,
        "target": facts.target_for(asked["size"]),
        "source": facts.source,
        "licence": facts.licence,
        "trivial": workload.trivial,
        "data_hash": workload.data_hash,
        "data_version": workload.data_version,
        "recorded_hash": facts.data_hashes.get(workload.data_version) or facts.data_hashes.get("*", ""),
        "train_samples": int(workload.train[0].shape[0]),
        "held_out_samples": int(workload.held_out[0].shape[0]),
        "units_per_sample": workload.units_of(np.arange(workload.train[0].shape[0])),
    }
