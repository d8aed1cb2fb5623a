"""Runs made up for tests of analysis and page: real schema, plausible figures, known truth, every kind of ending."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.run.store import RunFolder
from harness.run.stored import StoredRun
from harness.schema.record import (
    Applied,
    Evaluation,
    Parity,
    Phase,
    RankResult,
    Record,
    RunInfo,
    Status,
    StepSeries,
    Warmup,
)
from harness.schema.suite import Choice, Recipe
from harness.schema.trial import Trial

MIB = 2**20
DP_REASON = "torch's nn.DataParallel needs two accelerators; this machine has none"
RECIPE = Recipe(optimizer=Choice(name="adamw"), lr=3e-3, schedule=Choice(name="cosine"), weight_decay=0.1, clip=1.0)
STRATEGIES: dict[str, float] = {
    "single": 1.0,
    "single(cores=all)": 1.31,
    "dp": math.nan,
    "ddp": 1.62,
    "fsdp": 1.18,
    "fsdp(reshard_after_forward=false)": 1.27,
}
"""label → true throughput relative to single"""
MEMORY = {"single": 1.0, "single(cores=all)": 1.0, "ddp": 1.08, "fsdp": 0.71, "fsdp(reshard_after_forward=false)": 0.86}
WORKLOADS: dict[str, dict[str, Any]] = {
    "gpt": {"unit": "token", "metric": "loss", "better": "lower", "target": 3.0, "units": 128, "step": 0.042,
            "memory": 46.0, "start": 4.61, "floor": 2.2, "parameters": 231_040.0},
    "resnet": {"unit": "image", "metric": "accuracy", "better": "higher", "target": 0.97, "units": 1, "step": 0.061,
               "memory": 31.0, "start": 2.31, "floor": 0.35, "parameters": 77_866.0},
}  # fmt: skip


def choice(label: str) -> Choice:
    """The Choice whose label this is."""
    name, _, rest = label.partition("(")
    values = {"true": True, "false": False}
    pairs = [pair.split("=") for pair in rest.rstrip(")").split(", ") if pair]
    return Choice(name=name, options={key: values.get(value, value) for key, value in pairs})


@dataclass
class Shape:
    """What is made up. truth: label → true speed relative to single; drift: SD of the log factor a round shares;
    noise: SD of the log factor of each trial; break_: called for each OK record, may return another."""

    workloads: Sequence[str] = ("gpt", "resnet")
    truth: dict[str, float] = field(default_factory=lambda: dict(STRATEGIES))
    precisions: dict[str, float] = field(default_factory=lambda: {"fp32": 1.0, "bf16": 0.83})
    rounds: int = 3
    noise: float = 0.015
    drift: float = 0.04
    steps: int = 30
    warmup: int = 11
    seed: int = 7
    series: bool = True
    break_: Callable[[Record], Record] = lambda record: record


def trial_of(shape: Shape, workload: str, strategy: str, precision: str, repeat: int, **changes: Any) -> Trial:
    """The trial of one cell and round."""
    ranks = 2 if strategy.startswith(("ddp", "fsdp")) else 1
    asked = {
        "workload": choice(workload), "size": "nano", "strategy": choice(strategy), "precision": choice(precision),
        "recipe": RECIPE, "global_batch": 16, "micro_batch": 8, "accumulation": 2 // ranks, "steps": shape.steps,
        "device": "cpu", "devices": ranks, "processes": ranks, "shares": 2 if "all" in strategy else 1,
        "device_slots": 2, "seed": 0, "repeat": repeat,
    }  # fmt: skip
    return Trial(**(asked | changes))


def _loss(facts: dict[str, Any], steps: int, precision: str, rng: np.random.Generator) -> list[float]:
    step = np.arange(1, steps + 1)
    wiggle = np.random.default_rng(3).normal(0, 0.05, steps)
    curve = facts["floor"] + (facts["start"] - facts["floor"]) * np.exp(-step / 14) + wiggle
    if precision != "fp32":
        curve = curve * (1 + rng.normal(0, 3e-4, steps))
    return [float(value) for value in curve]


def _evaluations(facts: dict[str, Any], loss: list[float], step_s: float, steps: int) -> list[Evaluation]:
    done = [step for step in (steps // 3, 2 * steps // 3, steps) if step]
    held_out = {step: loss[step - 1] * 1.05 if facts["metric"] == "loss" else 1 - loss[step - 1] / 5 for step in done}
    return [
        Evaluation(step=step, train_s=step * step_s, metrics={f"eval_{facts['metric']}": value})
        for step, value in held_out.items()
    ]


def _metrics(facts: dict[str, Any], trial: Trial, step_s: float, rng: np.random.Generator) -> dict[str, float]:
    ranks, bf16 = trial.processes, trial.precision.name != "fp32"
    phase = step_s * float(rng.normal(1.01, 0.01))
    metrics = {
        "step_s": step_s,
        "step_cpu_s": step_s * ranks * float(rng.normal(0.97, 0.01)),
        "samples_per_s": trial.global_batch / step_s * 0.985,
        f"{facts['unit']}s_per_s": trial.global_batch / step_s * 0.985 * facts["units"],
        "window_s": trial.steps * step_s,
        "window_samples": float(trial.global_batch * trial.steps),
        "data_wait_s": 0.02 * phase,
        "forward_s": 0.31 * phase,
        "backward_s": 0.56 * phase,
        "optimizer_s": 0.09 * phase,
        "peak_rss_bytes": 310 * MIB * float(rng.normal(1, 0.01)),
        "parameters": facts["parameters"],
        "warmup_steps": 11.0,
        "first_step_s": 0.14 * ranks,
        "trial_s": 4.1,
        "harness_overhead_s": 0.9,
        "harness_cpu_s": 0.4,
    }
    if trial.repeat == 0:
        total = facts["memory"] * MIB * MEMORY.get(trial.strategy.label, 1.0) * (0.79 if bf16 else 1.0)
        shares = {"parameters": 0.06, "gradients": 0.06, "optimizer": 0.12, "activations": 0.66, "other": 0.10}
        metrics |= {"peak_allocated_bytes": total}
        metrics |= {f"memory_{kind}_bytes": total * share for kind, share in shares.items()}
    return metrics


def _parity(trial: Trial) -> Parity:
    single = trial.strategy.name == "single" and trial.precision.name == "fp32"
    bf16 = trial.precision.name != "fp32"
    return Parity(
        status="passed", equivalence="exact" if single else "approximate" if bf16 else "reordered", steps=5,
        loss_error=0.0 if single else 2.1e-4 if bf16 else 8.2e-8, loss_tolerance=2e-2 if bf16 else 1e-5,
        grad_norm_error=0.0 if single else 3.9e-3 if bf16 else 1.1e-6, grad_norm_tolerance=5e-2 if bf16 else 1e-4,
    )  # fmt: skip


def _ranks(trial: Trial) -> list[RankResult]:
    per_rank = 2 if trial.shares == 2 else 1
    return [
        RankResult(rank=rank, phase=Phase.DONE, host="lab", pid=900 + rank, device="cpu", threads=per_rank,
                   cores=list(range(rank * per_rank, (rank + 1) * per_rank)))
        for rank in range(trial.processes)
    ]  # fmt: skip


def _ok(shape: Shape, facts: dict[str, Any], trial: Trial, step_s: float, rng: np.random.Generator) -> Record:
    loss = _loss(facts, shape.warmup + shape.steps, trial.precision.name, rng)
    evaluations = _evaluations(facts, loss, step_s, shape.steps)
    metrics = _metrics(facts, trial, step_s, rng) | {"loss": loss[-1]}
    metrics |= evaluations[-1].metrics if evaluations else {}
    found = [
        Applied(fact="wrapper", asked=trial.strategy.name, found=trial.strategy.name, ok=True),
        Applied(fact="compute_dtype", asked=trial.precision.name, found=trial.precision.name, ok=True),
        Applied(fact="world_size", asked=trial.processes, found=trial.processes, ok=True),
    ]
    return _record(
        trial, Status.OK, Phase.DONE, applied=found, parity=_parity(trial), metrics=metrics, evaluations=evaluations,
        warmup=Warmup(steps=shape.warmup, steady=True, rule="blocks of 5 steps differ by less than 5 %", change=0.01),
        per_rank=_ranks(trial),
    )  # fmt: skip


def _record(trial: Trial, status: Status, phase: Phase, **more: Any) -> Record:
    return Record(
        trial=trial, status=status, phase=phase, environment="0f1e2d3c4b5a", load=(0.4, 1.6),
        started_at="2026-11-23T14:00:00+00:00", ended_at="2026-11-23T14:00:04+00:00",
        command=f"harness rerun {trial.id}", **more,
    )  # fmt: skip


def _series(trial: Trial, record: Record, shape: Shape, rng: np.random.Generator) -> StepSeries:
    steps = shape.warmup + shape.steps
    facts = WORKLOADS[trial.workload.name]
    step_s = record.metrics["step_s"] * rng.normal(1, 0.03, steps)
    step_s[:3] *= [2.4, 1.4, 1.1]
    columns: dict[str, list[float | None]] = {
        "step": [float(step + 1) for step in range(steps)],
        "timed": [float(step >= shape.warmup) for step in range(steps)],
        "loss": list(_loss(facts, steps, trial.precision.name, np.random.default_rng(trial.repeat))),
        "step_s": [float(value) for value in step_s],
        "cpu_s": [float(value * trial.processes) for value in step_s],
    }
    return StepSeries(trial_id=trial.id, columns=columns)


def synthetic_run(shape: Shape | None = None) -> StoredRun:
    """A run of every workload × strategy × precision × round of the shape; unsupported ones are records too."""
    shape = shape or Shape()
    rng = np.random.default_rng(shape.seed)
    records: list[Record] = []
    series: dict[str, StepSeries] = {}
    for repeat in range(shape.rounds):
        for workload in shape.workloads:
            facts = WORKLOADS[workload]
            drift = math.exp(rng.normal(0, shape.drift))
            for strategy, truth in shape.truth.items():
                for precision, speed in shape.precisions.items():
                    trial = trial_of(shape, workload, strategy, precision, repeat)
                    if math.isnan(truth):
                        if repeat == 0:
                            records.append(_record(trial, Status.UNSUPPORTED, Phase.PLAN, reason=DP_REASON))
                        continue
                    step_s = facts["step"] / (truth * speed) * drift * math.exp(rng.normal(0, shape.noise))
                    record = _ok(shape, facts, trial, step_s, rng)
                    if shape.series:
                        series[trial.id] = _series(trial, record, shape, rng)
                    records.append(shape.break_(record))
    return StoredRun(Path("results/runs/synthetic"), run_info(len(records)), records, [], series, [])


def run_info(planned: int, **changes: Any) -> RunInfo:
    """run.json of a made-up run."""
    shown = ("unit", "metric", "better", "target")
    content: dict[str, Any] = {
        "suite": {"question": "Which strategy trains fastest on this machine, and what does it cost in memory?"},
        "suite_file": "benchmarks/suites/quick.toml",
        "question": "Which strategy trains fastest on this machine, and what does it cost in memory?",
        "group_keys": ["workload", "size", "techniques", "recipe", "global_batch", "micro_batch", "steps", "devices"],
        "compared_keys": ["strategy", "precision"],
        "baseline": {"strategy": "single", "precision": "fp32"},
        "workloads": {
            f"{name}/nano": {key: facts[key] for key in shown} | {"source": f"data of {name}", "licence": "CC0",
            "trivial": {"nothing learned": 0.1}, "train_samples": 1437, "held_out_samples": 360}
            for name, facts in WORKLOADS.items()
        },
        "machine_key": "0f1e2d3c4b5a",
        "environment": {"host": "lab", "cpu_model": "Example CPU @ 2.5 GHz", "cores": [0, 1], "torch": "2.13.0+cpu",
                        "git_commit": "d70258a9c1", "git_dirty": False, "python": "3.11.9",
                        "variables": {"OMP_NUM_THREADS": "1"}},
        "planned": planned,
        "command": "harness run benchmarks/suites/quick.toml",
        "started_at": "2026-11-23T14:00:00+00:00",
        "ended_at": "2026-11-23T14:04:12+00:00",
        "harness_version": "0.1.0",
        "parent_cpu_s": 1.9,
    }  # fmt: skip
    return RunInfo(**(content | changes))


SCALING: dict[tuple[str, int], float] = {
    ("single", 1): 1.0, ("ddp", 2): 1.8, ("ddp", 4): 3.0, ("fsdp", 2): 1.5, ("fsdp", 4): 2.0,
}  # fmt: skip
"""strategy and devices → true strong speed-up; each weak one is a tenth of the ideal nearer to it"""


def scaling_run(
    rounds: int = 3,
    break_: Callable[[Record], Record] = lambda record: record,
    workloads: Sequence[str] = ("gpt",),
    noise: float = 0.0,
) -> StoredRun:
    """Strong scaling at 64 samples a step and weak scaling at 16 a device, on 1, 2 and 4 devices, with drift that a
    round shares.
    """
    shape = Shape(workloads=workloads, precisions={"fp32": 1.0}, rounds=rounds, series=False)
    rng = np.random.default_rng(shape.seed)
    records: list[Record] = []
    for repeat in range(rounds):
        drift = math.exp(rng.normal(0, 0.1))
        for workload in workloads:
            for per_device in (None, 16):
                for (strategy, devices), speed_up in SCALING.items():
                    changes = {"devices": devices, "processes": devices, "device_slots": 4, "devices_asked": devices,
                               "global_batch": 64 if per_device is None else per_device * devices,
                               "batch_per_device": per_device, "accumulation": 1}  # fmt: skip
                    trial = trial_of(shape, workload, strategy, "fp32", repeat, **changes)
                    facts = WORKLOADS[workload]
                    reached = speed_up if per_device is None or devices == 1 else speed_up + 0.1 * devices
                    step_s = facts["step"] * trial.global_batch / 16 / reached * drift * math.exp(rng.normal(0, noise))
                    records.append(break_(_ok(shape, facts, trial, step_s, rng)))
    compared = {"strategy": "single", "devices": 1}
    info = run_info(len(records), baseline=compared, compared_keys=["strategy", "devices"])
    return StoredRun(Path("results/runs/scaling"), info, records, [], {}, [])


def compiled_run(rounds: int = 3, speed: float = 1.25, alone: bool = False) -> StoredRun:
    """single and ddp, plain and compiled in 12 s to steps so many times as fast; alone: only the compiled cells."""
    plain = synthetic_run(Shape(workloads=("gpt",), truth={"single": 1.0, "ddp": 1.6}, precisions={"fp32": 1.0},
                                rounds=rounds, noise=0.0))  # fmt: skip
    records = []
    for record in plain.records:
        trial = record.trial.model_copy(update={"techniques": (choice("compile"),)})
        step_s = record.metrics["step_s"] / speed
        metrics = record.metrics | {"step_s": step_s, "samples_per_s": 16 / step_s * 0.985, "compile_s": 12.0}
        records += [*([] if alone else [record]), record.model_copy(update={"trial": trial, "metrics": metrics})]
    info = run_info(len(records), baseline={"strategy": "single", "techniques": []},
                    compared_keys=["strategy", "techniques"])  # fmt: skip
    return replace(plain, info=info, records=records)


def failed(record: Record, status: Status, phase: Phase, reason: str, **more: Any) -> Record:
    """The record as it would be had the trial ended so: what is not known then is not there."""
    kept = {"metrics": {}, "evaluations": [], "parity": None, "per_rank": record.per_rank}
    if status is Status.PARITY_FAILED:
        kept = {}
    return record.model_copy(update={"status": status, "phase": phase, "reason": reason, **kept, **more})


def broken_run(
    stderr: str = "RuntimeError: DefaultCPUAllocator: can't allocate memory",
    workloads: Sequence[str] = ("gpt", "resnet"),
) -> StoredRun:
    """A run in which every kind of failure occurs: two of them in gpt, three in resnet."""

    def break_(record: Record) -> Record:
        trial = record.trial
        key = (trial.workload.name, trial.strategy.label, trial.precision.name)
        if key == ("gpt", "ddp", "bf16"):
            dead = RankResult(rank=1, phase=Phase.TIMED, signal="SIGKILL", stderr_tail=stderr)
            return failed(record, Status.OOM, Phase.TIMED, "out of memory in step 12", per_rank=[dead])
        if key == ("gpt", "fsdp", "bf16") and trial.repeat == 1:
            dead = RankResult(
                rank=0, phase=Phase.WRAP, exit_code=1, stderr_tail=stderr, traceback="Traceback …\n" + stderr
            )
            return failed(record, Status.CRASHED, Phase.WRAP, "ValueError: mesh has 1 device", per_rank=[dead])
        if key == ("resnet", "ddp", "fp32") and trial.repeat == 2:
            return failed(record, Status.TIMEOUT, Phase.WARMUP, "no end after 300 s")
        if key == ("resnet", "fsdp", "bf16"):
            off = Parity(
                status="failed", equivalence="approximate", steps=5, loss_error=1.2e-5, loss_tolerance=2e-2,
                grad_norm_error=1.0, grad_norm_tolerance=5e-2, reason="gradient norm differs by 100 %",
            )  # fmt: skip
            return failed(record, Status.PARITY_FAILED, Phase.PARITY, "gradient norm differs by 100 %", parity=off)
        if key == ("resnet", "single", "bf16"):
            return failed(record, Status.DIVERGED, Phase.TIMED, "loss is not finite at step 17; last finite loss 8.31")
        return record

    return synthetic_run(Shape(workloads=workloads, break_=break_))


def only_failures() -> StoredRun:
    """Nothing ended well."""
    return synthetic_run(Shape(break_=lambda record: failed(record, Status.CRASHED, Phase.BUILD, "no such module")))


def one_cell() -> StoredRun:
    """The baseline alone."""
    return synthetic_run(Shape(workloads=("gpt",), truth={"single": 1.0}, precisions={"fp32": 1.0}))


def one_round() -> StoredRun:
    """Every cell once."""
    return synthetic_run(Shape(rounds=1))


def without_series() -> StoredRun:
    """No per-step values were kept."""
    return synthetic_run(Shape(series=False))


def with_holes() -> StoredRun:
    """Series with NaN, None, unequal lengths and one that is empty."""
    run = synthetic_run(Shape(rounds=2))
    for number, series in enumerate(run.series.values()):
        columns = series.columns
        columns["loss"] = [None if step % 5 == 0 else math.nan if step % 7 == 0 else value
                           for step, value in enumerate(columns["loss"])]  # fmt: skip
        columns["step_s"] = columns["step_s"][:-3]
        if number % 4 == 0:
            columns["loss"] = [None] * len(columns["loss"])
        if number % 9 == 0:
            columns.clear()
    return run


def many_cells(cells: int = 1000, rounds: int = 1) -> StoredRun:
    """One workload, very many strategies' options."""
    truth = {"single": 1.0} | {f"ddp(bucket_cap_mb={number})": 1 + number / cells for number in range(1, cells)}
    return synthetic_run(
        Shape(workloads=("gpt",), truth=truth, precisions={"fp32": 1.0}, rounds=rounds, steps=5, warmup=2)
    )


def many_groups(groups: int = 12, shape: Shape | None = None) -> StoredRun:
    """Very many batches: groups of their own."""
    run = synthetic_run(shape or Shape(workloads=("gpt",), rounds=2, steps=10, warmup=5))
    records, series = list(run.records), dict(run.series)
    for batch in range(2, groups + 1):
        for record in run.records:
            trial = record.trial.model_copy(update={"global_batch": 16 * batch})
            records.append(record.model_copy(update={"trial": trial}))
            if record.trial.id in run.series:
                series[trial.id] = run.series[record.trial.id].model_copy(update={"trial_id": trial.id})
    return replace(run, info=run_info(len(records)), records=records, series=series)


def with_text(run: StoredRun, texts: Iterable[str]) -> StoredRun:
    """The run with hostile text wherever a person or a process can put text."""
    texts = list(texts)
    records = []
    for number, record in enumerate(run.records):
        text = texts[number % len(texts)]
        rank = RankResult(rank=0, phase=Phase.BUILD, stderr_tail=text, traceback=text, error=text, device=text)
        updates: dict[str, Any] = {"reason": text, "command": text, "per_rank": [rank]}
        updates["applied"] = [Applied(fact=text, asked=text, found=text, ok=False)]
        updates["status"] = Status.CRASHED if number % 3 == 0 and number else record.status
        updates["trial"] = record.trial.model_copy(update={"size": text})
        records.append(record.model_copy(update=updates))
    everywhere = " ".join(texts)
    info = run.info.model_copy(
        update={"question": everywhere, "command": everywhere, "environment": {everywhere: everywhere}}
    )
    return replace(run, info=info, records=records, warnings=[everywhere])


def kept(run: StoredRun, results: Path) -> Path:
    """The run as `harness run` would have left it in a results folder; returns its folder."""
    folder = RunFolder.create(results, run.info)
    for record in run.records:
        folder.append(record, run.series.get(record.trial.id))
    folder.finish()
    return folder.folder
