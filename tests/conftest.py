"""Shared by all tests: trials of the tiny plug-in, executed by the one fork server that this process shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.run.executors import local
from harness.run.merge import merge
from harness.run.plan import reference_trial
from harness.schema.record import Record, StepSeries
from harness.schema.registry import load_plugin
from harness.schema.suite import Recipe
from harness.schema.trial import Plugin, Trial

PLUGINS = Path(__file__).parent / "plugins"
RECIPE = Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.01, clip=1.0)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background, and so would be all it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)

Made = Callable[..., Trial]
Ran = Callable[..., tuple[Record, StepSeries]]


def plugins(*names: str) -> tuple[Plugin, ...]:
    """The test plug-ins of these names, loaded here and by the workers."""
    paths = [PLUGINS / f"{name}.py" for name in names]
    return tuple(Plugin(path=str(path), sha256=load_plugin(path)) for path in paths)


def make_trial(strategy: Any = "single", ranks: int = 1, **changes: Any) -> Trial:
    """A trial of the tiny workload; two ranks unless it is of one process."""
    asked: dict[str, Any] = {
        "workload": "tiny",
        "size": "only",
        "strategy": strategy,
        "precision": "fp32",
        "recipe": RECIPE,
        "global_batch": 16,
        "micro_batch": 4,
        "accumulation": 4 // ranks,
        "steps": 10,
        "device": "cpu",
        "devices": ranks,
        "processes": ranks,
        "device_slots": min(2, len(os.sched_getaffinity(0))) if ranks == 1 else ranks,
        "plugins": plugins("tiny", "faults", "no_ops"),
        "seed": 0,
        "repeat": 0,
        "timeout_s": 120.0,
    }
    return Trial(**{**asked, **changes})


_REFERENCES: dict[str, tuple[Record, StepSeries]] = {}


def execute(trial: Trial, parity: bool = True) -> tuple[Record, StepSeries]:
    """Execute a trial for real and make its record, with parity against its reference."""
    reference = None
    if parity:
        asked = reference_trial(trial)
        if asked.id not in _REFERENCES:
            _REFERENCES[asked.id] = _merged(asked, None)
        reference = _REFERENCES[asked.id]
    return _merged(trial, reference)


def _merged(trial: Trial, reference: tuple[Record, StepSeries] | None) -> tuple[Record, StepSeries]:
    done = local.execute(trial, sorted(os.sched_getaffinity(0)))
    return merge(
        trial, done.ranks, reference, ended=done.ended, started_at=done.started_at, ended_at=done.ended_at,
        load=done.load, environment="test", command="none",
    )  # fmt: skip


@pytest.fixture
def trial() -> Made:
    """`make_trial`."""
    return make_trial


@pytest.fixture
def ran() -> Ran:
    """`execute`."""
    return execute
