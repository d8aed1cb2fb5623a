"""Planted workloads: samples of different length, metrics that are no mean, files that the trained model leaves."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import workloads
from harness.schema.registry import load_plugin

load_plugin(Path(__file__).parent / "tiny.py")


def _leaving(changes: dict[str, Any]) -> workloads.Workload:
    from torch import arange

    built: workloads.Workload = workloads.registry["tiny"].function("only")
    return dataclasses.replace(
        built,
        units_per_sample=arange(len(built.train[0])) % 5 + 1,
        predictions=workloads.Predictions(
            predict=lambda model, batch: (model(batch[0]).argmax(dim=1), batch[1]),
            score=lambda all_: {"classes_seen": float(len({int(label) for _, labels in all_ for label in labels}))},
            always=False,
        ),
        **changes,
    )


def _weights(model: Any, folder: Path) -> Mapping[str, Path]:
    path = folder / "mode.txt"
    path.write_text(f"training={model.training} gradients={next(model.parameters()).sum().requires_grad}")
    return {"a note": path}


def _broken(model: Any, folder: Path) -> Mapping[str, Path]:
    raise RuntimeError("no paper left")


facts = {
    field.name: getattr(workloads.registry["tiny"].facts, field.name)
    for field in dataclasses.fields(workloads.WorkloadFacts)
}


@workloads.register("leaves", **facts)
def leaves(size: str) -> workloads.Workload:
    """Leaves a note."""
    return _leaving({"artifacts": _weights})


@workloads.register("leaves_nothing", **facts)
def leaves_nothing(size: str) -> workloads.Workload:
    """Breaks where it should leave a note."""
    return _leaving({"artifacts": _broken})
