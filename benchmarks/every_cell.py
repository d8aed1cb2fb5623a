"""All strategies that are registered, with their options, planned as a suite would plan them and run once."""

from __future__ import annotations

from functools import cache
from typing import Any

from benchmarks.trials import CORES
from harness.machine.inventory import Inventory
from harness.run.executors import local
from harness.run.merge import merge
from harness.run.plan import make_plan, reference_trial
from harness.schema.record import Record, StepSeries
from harness.schema.suite import Suite
from harness.schema.trial import Trial
from harness.strategies import registry

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ddp": [{"gradient_as_bucket_view": True}, {"static_graph": True}],
    "zero1": [{"parameters_as_bucket_view": True}],
    "fsdp": [{"reshard_after_forward": False}, {"cpu_offload": True}, {"meta_init": True}],
    "pipeline": [{"schedule": "1f1b"}],
    "deepspeed": [{"stage": 1}, {"stage": 2}],
}
"""Beside each strategy with its defaults: what executes a step otherwise, by the same maths."""
STEPS = 10
"""The first steps, compared with one process."""
GLOBAL_BATCH = {"gpt": 16, "resnet": 64}


@cache
def machine() -> Inventory:
    """What this machine has."""
    return local.probe()


def planned_cells(workload: str, **fixed: Any) -> list[Trial]:
    """Trials of a workload's nano size on CPU in fp32, one per cell; what cannot run here is left out.

    Cells: each registered strategy and its options above on two ranks (or the fewest that it can have), `single` on
    one, a rank's share of the batch in one piece; DDP and FSDP also in two pieces (accumulation without communication
    in between), and DDP with checkpointing. fixed: further keys of the suite.
    """
    whole = GLOBAL_BATCH[workload]
    cells: list[dict[str, Any]] = []
    for entry in registry.entries():
        devices = max(2, entry.facts.min_devices) if entry.name != "single" else 1
        for options in [{}, *OPTIONS.get(entry.name, [])]:
            strategy = {"name": entry.name, **options}
            cells.append({"strategy": strategy, "devices": devices, "micro_batch": whole // max(2, devices)})
    cells += [{"strategy": name, "devices": 2, "micro_batch": whole // 4} for name in ("ddp", "fsdp")]
    cells.append({"strategy": "ddp", "devices": 2, "micro_batch": whole // 2, "techniques": ["checkpointing"]})
    suite = {
        "question": "Figures of the harness",
        "fixed": {"workload": workload, "size": "nano", "device": "cpu", "global_batch": whole, **fixed},
        "include": cells,
        "budget": {"repeats": 1, "parity_steps": STEPS, "oversubscribe": True},
    }
    trials = make_plan(Suite.model_validate(suite), machine()).trials
    return sorted(trials, key=lambda trial: (trial.devices, label(trial)))


def label(trial: Trial) -> str:
    """The cell in few words."""
    names = [trial.workload.name, trial.strategy.label, *(technique.label for technique in trial.techniques)]
    accumulated = trial.data_ranks > 1 and trial.accumulation > 1
    return " ".join([*names, f"× {trial.devices}", *(["accumulated"] if accumulated else [])])


def execute(trial: Trial) -> tuple[Record, StepSeries]:
    """Run a trial and compare it with its reference, which is run once."""
    return _merged(trial, _reference(reference_trial(trial).model_dump_json()))


@cache
def _reference(trial_json: str) -> tuple[Record, StepSeries]:
    return _merged(Trial.model_validate_json(trial_json), None)


def _merged(trial: Trial, reference: tuple[Record, StepSeries] | None) -> tuple[Record, StepSeries]:
    done = local.execute(trial, CORES)
    return merge(
        trial,
        done.ranks,
        reference,
        ended=done.ended,
        started_at=done.started_at,
        ended_at=done.ended_at,
        load=done.load,
    )
