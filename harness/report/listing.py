"""Rows for `list`, `plan` and `doctor`: the same rows become a table for people and JSON for scripts."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from harness import monitors, strategies, workloads
from harness.machine.inventory import Inventory
from harness.machine.packages import extra, missing
from harness.recipes import optimizers, regularizers, schedules
from harness.run.plan import Plan
from harness.schema.metrics import metric
from harness.schema.record import Record
from harness.schema.registry import REQUIRED, Entry, Registry
from harness.schema.trial import Trial
from harness.strategies.precision import precisions
from harness.strategies.techniques import techniques

Row = dict[str, Any]
NEVER_WRAPPED = ("name", "id", "order", "round", "trial", "status", "what", "metric")

KINDS: dict[str, Registry[Any]] = {
    "strategies": strategies.registry,
    "precisions": precisions,
    "techniques": techniques,
    "workloads": workloads.registry,
    "optimizers": optimizers.registry,
    "schedules": schedules.registry,
    "regularizers": regularizers.registry,
    "monitors": monitors.registry,
}

_OPTIONAL = [entry.name for entry in optimizers.registry.entries() if optimizers.PACKAGE in entry.facts.requires]
FEATURES = {
    "pytorch_optimizer": (f"optimizers {', '.join(_OPTIONAL)}", optimizers.INSTALL),
    "pyarrow": ("step series as parquet (else npz)", extra("parquet")),
    "pytest_benchmark": ("make bench-self", extra("dev")),
    "horovod": ("strategy horovod", "make horovod"),
    "deepspeed": ("strategy deepspeed", "pip install deepspeed"),
    "tensorboard": ("harness profile, harness export --format tensorboard", extra("trace")),
    "torch_tb_profiler": ("harness profile", extra("trace")),
    "mlflow": ("harness export --format mlflow", extra("mlflow")),
    "playwright": ("browser tests of the page", extra("dev")),
}


def registered(kind: str) -> list[Row]:
    """All registered things of one kind: name, options with defaults, what it is."""
    return [
        {"kind": kind, "name": entry.name, "options": _options(entry), "what": entry.summary, **_facts(entry)}
        for entry in KINDS[kind].entries()
    ]


def _options(entry: Entry[Any]) -> str:
    return ", ".join(
        option.name if option.default is REQUIRED else f"{option.name}={option.default!r}"
        for option in entry.options.values()
    )


def _facts(entry: Entry[Any]) -> Row:
    facts = entry.facts
    if hasattr(facts, "sizes"):
        return {"sizes": ", ".join(facts.sizes), "metric": facts.metric, "target": facts.target}
    if hasattr(facts, "weight_decay"):
        return {"weight decay": facts.weight_decay, "needs": ", ".join(facts.requires)}
    return {"equivalence": facts.equivalence} if hasattr(facts, "equivalence") else {}


def planned(plan: Plan) -> list[Row]:
    """Trials in the order of execution, then the impossible ones with their reason."""
    rows = [
        {"order": number, "id": trial.id, "trial": trial.label, "round": trial.repeat + 1, "seed": trial.seed,
         "ranks": trial.processes, **_batch(trial), "status": "planned", "reason": ""}
        for number, trial in enumerate(plan.trials, 1)
    ]  # fmt: skip
    impossible = [
        {"order": None, "id": trial.id, "trial": trial.label, "round": None, "seed": None, "ranks": trial.processes,
         "micro_batch": trial.micro_batch_text, "accum.": None, "status": "UNSUPPORTED", "reason": reason}
        for trial, reason in plan.unsupported
    ]  # fmt: skip
    return rows + impossible


def _batch(trial: Trial) -> Row:
    """Micro-batch and accumulation; what is searched for is not known before the run."""
    if trial.among and not trial.searched:
        return {"micro_batch": "max (searched when run)", "accum.": None}
    return {"micro_batch": trial.micro_batch_text, "accum.": trial.accumulation}


def diagnosis(inventory: Inventory) -> list[Row]:
    """What the machine has, and what is missing for which feature with the command that adds it."""
    kind = inventory.kind("auto")
    found = ", ".join(inventory.accelerator_names) or "none: strategies run on shares of the CPU's cores with gloo"
    rows = [
        _row("devices", kind, f"{found}"),
        _row("cores", len(inventory.cores), f"ids {', '.join(map(str, inventory.cores))}"),
        _row("machine key", inventory.machine_key, "records of another key are not compared silently"),
    ]
    rows += [_row(precision, "emulated", reason) for precision, reason in inventory.slow_precisions.items()]
    for key, value in inventory.environment.items():
        if isinstance(value, (str, int, float)):
            rows.append(_row(key.replace("_", " "), value, ""))
    for package, (feature, command) in FEATURES.items():
        there = not missing([package])
        version = importlib.metadata.version(package.replace("_", "-")) if there else "missing"
        rows.append(_row(package, version, feature if there else f"{feature}: {command}"))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    without = "browser tests of the page: apt-get install chromium"
    rows.append(_row("chromium", "found" if browser else "missing", "" if browser else without))
    return rows


def _row(what: str, found: object, note: str) -> Row:
    return {"what": what, "found": str(found), "note": note}


def table(rows: Sequence[Row], title: str = "") -> Table:
    """The rows as a table for people; columns that are empty everywhere are left out."""
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if any(_text(r, name) for r in rows)]
    drawn = Table(title=title or None, title_justify="left", box=None, padding=(0, 1), header_style="dim")
    for name in columns:
        drawn.add_column(name, overflow="fold", no_wrap=name in NEVER_WRAPPED)
    for row in rows:
        drawn.add_row(*(Text(_text(row, name)) for name in columns))  # as it is: `[parquet]` is no markup
    return drawn


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def compared(before: Record, after: Record) -> list[Row]:
    """A trial's stored figures beside those of its repetition."""
    rows: list[Row] = [{"metric": "status", "stored": before.status.value, "again": after.status.value, "ratio": ""}]
    if before.reason or after.reason:
        rows.append({"metric": "reason", "stored": before.reason or "", "again": after.reason or "", "ratio": ""})
    for name in sorted(before.metrics.keys() | after.metrics.keys()):
        old, new = before.metrics.get(name), after.metrics.get(name)
        ratio = f"{new / old:.3f}" if old and new is not None else ""
        unit = metric(name).unit
        rows.append({"metric": name, "unit": unit, "stored": _number(old), "again": _number(new), "ratio": ratio})
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
