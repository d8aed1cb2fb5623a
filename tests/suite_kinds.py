"""A small made-up run for each kind of suite that a page is made of, and for each way in which a run can be poor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.report.page import build_page
from harness.run.stored import StoredRun, read_run
from harness.schema.prediction import MEASURED
from harness.schema.record import Phase, Record, Status
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made
from tests.test_max_batch_plan import searched_run
from tests.test_operators import BASE, DDP, ranks_with, with_traces

ONE = ("gpt",)
FORMATS = {"fp32": 1.0, "tf32": 1.1, "bf16": 0.9, "bf16_weights": 0.95, "fp16": 0.5, "fp8": 0.3}


def with_predictions(run: StoredRun, **times: float) -> StoredRun:
    """The run with predictions that are what was measured, or so many times it: activations=0.5."""

    def with_prediction(record: Record) -> Record:
        found = {
            other: record.metrics[own] * times.get(other.removeprefix("predicted_").removesuffix("_bytes"), 1.0)
            for own, other in MEASURED.items()
            if own in record.metrics
        }
        return record.model_copy(update={"metrics": record.metrics | found})

    return replace(run, records=[with_prediction(record) for record in run.records])


def precisions() -> StoredRun:
    """Every number format with two strategies."""
    truth = {name: made.STRATEGIES[name] for name in ("single", "ddp")}
    return made.synthetic_run(made.Shape(workloads=ONE, truth=truth, precisions=FORMATS, rounds=2))


def optimizers() -> StoredRun:
    """Optimizers on a ladder of rates, two of them with a gap."""
    return recipes.recipes_run(recipes.Recipes(gaps={"adamw": 0.05, "lion": 0.08}))


def schedules() -> StoredRun:
    """Schedules, each at two peaks."""
    ends = {
        name: {3e-3: recipes.seeds(1.5 + at / 10), 1e-2: recipes.seeds(1.7 + at / 10)}
        for at, name in enumerate(("cosine", "linear", "constant"))
    }
    asked = recipes.Recipes(ends=ends, key="schedule", baseline={"schedule": "constant", "lr": 3e-3})
    return recipes.recipes_run(asked)


def regularizers() -> StoredRun:
    """Regularizers, and none of them; one with an option."""
    ends = {
        name: {3e-3: recipes.seeds(0.90 + at / 100)}
        for at, name in enumerate(("", "dropout(rate=0.1)", "mixup", "label_smoothing(smoothing=0.1)"))
    }
    gaps, baseline = dict.fromkeys(ends, 0.03), {"regularizers": [], "lr": 3e-3}
    asked = recipes.Recipes(ends=ends, workload="resnet", key="regularizers", target=0.91, gaps=gaps, baseline=baseline)
    return recipes.recipes_run(asked)


SUITES: dict[str, Callable[[], StoredRun]] = {
    "strategies": lambda: made.broken_run(workloads=ONE),
    "precision": precisions,
    "memory": lambda: with_predictions(searched_run({"ddp": 2}), activations=1.4),
    "compile": made.compiled_run,
    "scaling": lambda: made.scaling_run(noise=0.5),
    "optimizers": optimizers,
    "schedules": schedules,
    "regularization": regularizers,
    "workloads": recipes.workloads_run,
}


def nan_series() -> StoredRun:
    """Losses that are no number from the first step on, in every cell."""
    run = made.synthetic_run(made.Shape(workloads=ONE, rounds=2))
    for series in run.series.values():
        series.columns["loss"] = [math.nan for _loss in series.columns["loss"]]
    return run


def nothing_reached() -> StoredRun:
    """Cut off before any trial ended."""
    run = made.one_cell()
    return replace(run, info=run.info.model_copy(update={"ended_at": None, "planned": 64}), records=[], series={})


def baseline_gone() -> StoredRun:
    """The baseline crashed in every round: there is nothing to hold the others against."""

    def break_(record: Record) -> Record:
        baseline = record.trial.strategy.label == "single" and record.trial.precision.name == "fp32"
        return made.failed(record, Status.CRASHED, Phase.BUILD, "no such module") if baseline else record

    return made.synthetic_run(made.Shape(workloads=ONE, break_=break_))


POOR: dict[str, Callable[[], StoredRun]] = {
    "only failures": made.only_failures,
    "one cell": made.one_cell,
    "one round": lambda: made.synthetic_run(made.Shape(workloads=ONE, rounds=1)),
    "no loss": lambda: made.synthetic_run(made.Shape(workloads=ONE, rounds=1, series=False)),
    "NaN series": nan_series,
    "nothing reached": nothing_reached,
    "no baseline": baseline_gone,
    "one regularizer": lambda: recipes.recipes_run(
        recipes.Recipes(ends={"mixup": {3e-3: recipes.seeds(1.5)}}, key="regularizers", baseline={"lr": 1e-3})
    ),
}


def thirty_charts() -> StoredRun:
    """Four groups with eight charts each; the losses of every cell differ, so that no curve lies on another."""
    run = made.many_groups(4, made.Shape(workloads=ONE, rounds=5, steps=150))
    rng = np.random.default_rng(5)
    for series in run.series.values():
        loss = np.array(series.columns["loss"], float)
        series.columns["loss"] = [*(loss + rng.normal(0, 0.01, len(loss))).tolist()]
    return with_predictions(run, activations=1.07)


def every_measure() -> StoredRun:
    """Cells with a figure in every column that a group's table can have."""
    known = {"mfu_measured": 0.123, "mfu": 0.101, "communicated_bytes": 3.0 * 2**20, "comm_exposed_s": 0.0012}
    run = made.synthetic_run(made.Shape(workloads=ONE, rounds=2))
    records = [record.model_copy(update={"metrics": record.metrics | known}) for record in run.records]
    return replace(run, records=records)


KERNEL = "void at::native::vectorized_elementwise_kernel<4, at::native::AUnaryFunctor<float, float, float, at::native::"


def traced_run() -> StoredRun:
    """Two cells with a trace, whose longest operator has a name as kernels have them."""
    long = {**DDP, KERNEL + "binary_internal::MulFunctor<float>>, std::array<char*, 2ul>>(int, at::native::…)": 0.0005}
    asked = made.Shape(workloads=ONE, truth={"single": 1.0, "ddp": 1.6}, precisions={"fp32": 1.0}, rounds=2)
    return with_traces(made.synthetic_run(asked), {"single": ranks_with(BASE), "ddp": ranks_with(long)})


def damaged() -> StoredRun:
    """A folder in which a line of the trials and all steps are damaged."""
    with TemporaryDirectory() as above:
        folder = stored(made.synthetic_run(made.Shape(workloads=ONE, rounds=2)), Path(above) / "run")
        lines = (folder / "trials.jsonl").read_text().splitlines()
        lines[2] = lines[2][:80]
        (folder / "trials.jsonl").write_text("\n".join(lines)[:-40])
        (folder / "steps.jsonl").write_text("no steps\n")
        return read_run(folder)


MORE: dict[str, Callable[[], StoredRun | list[StoredRun]]] = {
    "every measure": every_measure,
    "traced": traced_run,
    "damaged folder": damaged,
    "two runs": lambda: [made.broken_run(workloads=ONE), optimizers()],
    "1,000 cells": lambda: made.many_cells(1000),
}
"""Pages that are neither small nor of one kind."""


@cache
def page_of(kind: str) -> str:
    """The page of a kind of suite, or of a poor or another run, built once for all tests that look at it."""
    return build_page({**SUITES, **POOR, **MORE}[kind]())


def stored(run: StoredRun, folder: Path) -> Path:
    """The run as it lies on disk while it goes on: run.json, trials.jsonl, steps.jsonl."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(run.info.model_dump_json(by_alias=True))
    (folder / "trials.jsonl").write_text("".join(f"{record.to_line()}\n" for record in run.records))
    lines = (f"{series.model_dump_json(by_alias=True)}\n" for series in run.series.values())
    (folder / "steps.jsonl").write_text("".join(lines))
    return folder
