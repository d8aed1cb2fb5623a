"""Trials, rank results and records made by hand, so that a test knows every figure."""

from __future__ import annotations

from typing import Any

from harness.schema.record import Phase, RankResult, Record, RunInfo, Status, StepSeries
from harness.schema.suite import Choice, Recipe
from harness.schema.trial import Trial

RECIPE = Recipe(optimizer=Choice(name="adamw"), lr=3e-3, schedule=Choice(name="cosine"), weight_decay=0.1, clip=1.0)


def a_trial(**changes: Any) -> Trial:
    """gpt/nano under ddp on two devices of the CPU, 16 samples a step; keyword arguments change it."""
    asked: dict[str, Any] = {
        "workload": "gpt",
        "size": "nano",
        "strategy": "ddp",
        "precision": "fp32",
        "recipe": RECIPE,
        "global_batch": 16,
        "micro_batch": 8,
        "accumulation": 1,
        "steps": 4,
        "device": "cpu",
        "devices": 2,
        "processes": 2,
        "device_slots": 2,
        "seed": 0,
        "repeat": 0,
    }
    return Trial.model_validate({**asked, **changes})


def a_record(trial: Trial | None = None, **changes: Any) -> Record:
    """An OK record with a few figures."""
    trial = trial or a_trial()
    known: dict[str, Any] = {
        "trial": trial,
        "status": Status.OK,
        "phase": Phase.DONE,
        "metrics": {"step_s": 0.1, "trial_s": 2.5},
        "environment": "machine-a",
    }
    return Record(**{**known, **changes})


def a_series(trial: Trial, steps: int = 3) -> StepSeries:
    """A series of so many steps with a value that is absent."""
    columns: dict[str, list[float | None]] = {
        "step": [float(step + 1) for step in range(steps)],
        "timed": [1.0] * steps,
        "loss": [2.0 / (step + 1) for step in range(steps)],
        "grad_norm": [None] + [1.5] * (steps - 1),
    }
    return StepSeries(trial_id=trial.id, columns=columns)


def a_run_info(**changes: Any) -> RunInfo:
    """What was asked, for a run of two trials."""
    known: dict[str, Any] = {
        "suite": {"question": "q"},
        "suite_file": "suite.toml",
        "question": "q",
        "machine_key": "machine-a",
        "environment": {},
        "planned": 2,
        "command": "harness run suite.toml",
        "started_at": "2026-01-01T00:00:00.000+00:00",
    }
    return RunInfo(**{**known, **changes})


def a_rank(rank: int = 0, **changes: Any) -> RankResult:
    """What a rank left that trained 2 warm-up and 4 timed steps of 8 samples each."""
    step_s = 0.1 + 0.02 * rank
    known: dict[str, Any] = {
        "rank": rank,
        "phase": Phase.DONE,
        "host": "here",
        "exit_code": 0,
        "started_at": 100.0,
        "marks": {"start": 0.1, "build": 0.2, "wrap": 0.3, "warmup": 0.6, "applied": 0.6, "timed": 1.1, "extra": 1.3},
        "metrics": {
            "step_s": step_s,
            "step_cpu_s": 0.09,
            "window_s": 4 * step_s,
            "window_samples": 32.0,
            "data_wait_s": 0.001 * (rank + 1),
            "peak_allocated_bytes": 1000.0 + rank,
            "memory_parameters_bytes": 400.0 - rank,
            "harness_cpu_s": 0.2,
            "parameters": 1234.0,
            "skipped_steps": 0.0,
            "warmup_steps": 2.0,
            "first_step_s": 0.3 + rank,
        },
        "facts": {
            "unit": "token",
            "units_per_sample": 64.0,
            "equivalence": "reordered",
            "metric": "loss",
            "target": 1.6,
            "better": "lower",
            "warmup": {"steps": 2, "steady": True, "rule": "two blocks within 2 %", "change": 0.01},
        },
        "applied": [{"fact": "threads", "asked": 1, "found": 1, "ok": True}],
        "series": {
            "step": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "timed": [0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
            "loss": [value + 0.2 * rank for value in (4.0, 3.5, 3.0, 2.5, 2.0, 1.5)],
            "grad_norm": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            "lr": [1e-3] * 6,
            "step_s": [step_s] * 6,
            "cpu_s": [0.09] * 6,
        },
        "evaluations": [
            {"step": 3, "train_s": 0.3, "metrics": {"loss": 1.9}},
            {"step": 6, "train_s": 0.6, "metrics": {"loss": 1.5}},
        ],
    }
    if rank:
        known["evaluations"] = []
    return RankResult.model_validate({**known, **changes})
