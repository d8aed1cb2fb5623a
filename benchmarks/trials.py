"""The trials that the figures are measured on, planned as `harness run` would plan them."""

from __future__ import annotations

import os
from typing import Any

from harness.run.executors import local
from harness.run.merge import merge
from harness.schema.record import Record
from harness.schema.suite import Choice
from harness.schema.trial import Trial
from harness.strategies import registry as strategies
from harness.workloads import registry

CORES = sorted(os.sched_getaffinity(0))


def planned(workload: str, strategy: str | dict[str, Any], /, **changes: Any) -> Trial:
    """A trial of a workload's nano size with its default recipe and batch, constant learning rate."""
    facts = registry[workload].facts
    ranks = 2 if strategies[Choice.model_validate(strategy).name].facts.processes == "per_device" else 1
    asked: dict[str, Any] = {
        "workload": workload,
        "size": "nano",
        "strategy": strategy,
        "precision": "fp32",
        "recipe": facts.recipe.model_copy(update={"schedule": Choice(name="constant")}),
        "global_batch": facts.global_batch,
        "micro_batch": facts.micro_batch,
        "accumulation": facts.global_batch // (facts.micro_batch * ranks),
        "steps": 30,
        "device": "cpu",
        "devices": ranks,
        "processes": ranks,
        "device_slots": 2,
        "seed": 0,
        "repeat": 0,
    }
    return Trial(**{**asked, **changes})


def run(trial: Trial) -> Record:
    """Execute a trial and make its record, without parity."""
    done = local.execute(trial, CORES)
    record, _series = merge(
        trial, done.ranks, None, ended=done.ended, started_at=done.started_at, ended_at=done.ended_at, load=done.load
    )
    return record
