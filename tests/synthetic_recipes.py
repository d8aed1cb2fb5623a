"""Recipe studies made up for tests: families on a ladder of learning rates, with known ends, divergences and stops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.run.learned import learned
from harness.run.stored import StoredRun
from harness.schema.record import Evaluation, Phase, RankResult, Record, Status, StepSeries
from harness.schema.suite import Choice
from harness.schema.trial import Trial
from tests import synthetic_run as made

LADDER = (1e-3, 3e-3, 1e-2)
DIVERGED = math.nan
"""In place of a final value: the loss of that seed was not finite at step 17."""
Ends = Mapping[str, Mapping[float, Sequence[float]]]
"""By optimizer (or schedule) and learning rate: the final held-out value of each seed."""
NOISE = (0.0, 0.04, -0.03)
"""What each seed does to all recipes alike."""


def seeds(value: float, own: Sequence[float] = (0.0, 0.002, -0.001)) -> list[float]:
    """Final values of three seeds around one: what the seed does to all, and a little of the recipe's own."""
    return [value + shared + extra for shared, extra in zip(NOISE, own, strict=True)]


ENDS: Ends = {
    "adamw": {1e-3: seeds(1.80), 3e-3: seeds(1.52), 1e-2: seeds(1.70)},
    "sgd(momentum=0.9)": {1e-3: seeds(2.90), 3e-3: seeds(2.55), 1e-2: seeds(1.98, (0.01, -0.02, 0.01))},
    "lion": {1e-3: seeds(1.66, (0.003, 0, 0.001)), 3e-3: seeds(2.2), 1e-2: [DIVERGED, 2.6, DIVERGED]},
}
"""adamw is best inside of the ladder, sgd at its edge; lion diverges at the highest rate."""


@dataclass
class Recipes:
    """What is made up. ends: see `Ends`; key: the part of a recipe that names the families; baseline: of the suite;
    step_s: by family, seconds of a step; stops: by family, the step at which its trials stopped early; gaps: by family.
    """

    ends: Ends = field(default_factory=lambda: ENDS)
    workload: str = "gpt"
    key: str = "optimizer"
    baseline: Mapping[str, Any] = field(default_factory=lambda: {"optimizer": "adamw", "lr": 3e-3})
    steps: int = 195
    warmup: int = 5
    every: int = 20
    target: float | None = 1.75
    step_s: Mapping[str, float] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, float] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """Steps of a whole trial."""
        return self.steps + self.warmup


def made_choice(label: str) -> Choice:
    """As `choice` of `synthetic_run`, with numbers as numbers."""
    found = made.choice(label or "none")
    return Choice(name=found.name, options={key: float(str(value)) for key, value in found.options.items()})


def trial_of(asked: Recipes, family: str, lr: float, seed: int) -> Trial:
    """The trial of a family's rung and a seed."""
    choice: Choice | tuple[Choice, ...] = made_choice(family)
    if asked.key == "regularizers":
        choice = (choice,) if family else ()
    recipe = made.RECIPE.model_copy(update={asked.key: choice, "lr": lr})
    changes = {"recipe": recipe, "seed": seed, "steps": asked.steps, "warmup_steps": asked.warmup,
               "eval_every": asked.every, "varied": (asked.key, "lr")}  # fmt: skip
    return made.trial_of(made.Shape(steps=asked.steps), asked.workload, "single", "fp32", 0, **changes)


def held_out_at(asked: Recipes, end: float, step: int) -> float:
    """A falling curve of losses, or a rising one of accuracies, that ends at `end` after the last step."""
    start = made.WORKLOADS[asked.workload]["start"] if asked.workload == "gpt" else 0.1
    left = math.exp(-4 * step / asked.horizon)
    last = math.exp(-4.0)
    return float(end + (start - end) * (left - last) / (1 - last))


def record_of(asked: Recipes, family: str, lr: float, seed: int, end: float) -> tuple[Record, StepSeries]:
    """The record and the series of one trial; DIVERGED where the end is not finite."""
    trial, facts = trial_of(asked, family, lr, seed), made.WORKLOADS[asked.workload]
    step_s = asked.step_s.get(family, 0.019)
    last = asked.stops.get(family, asked.horizon)
    lost = math.isnan(end)
    losses: list[float | None] = [held_out_at(asked, 2.0 if lost else end, step) for step in range(1, last + 1)]
    if lost:
        losses = [*losses[:16], None, None]
    steps = len(losses)
    columns: dict[str, list[float | None]] = {
        "step": [float(step + 1) for step in range(steps)],
        "timed": [float(step >= asked.warmup) for step in range(steps)],
        "loss": losses,
        "lr": [
            lr * min(1.0, (step + 1) / 10) * (0.55 + 0.45 * math.cos(math.pi * step / steps)) for step in range(steps)
        ],
        "step_s": [step_s] * steps,
    }
    series = StepSeries(trial_id=trial.id, columns=columns)
    rank = RankResult(rank=0, phase=Phase.DONE, host="lab", device="cpu", threads=1, cores=[0])
    common: dict[str, Any] = {"trial": trial, "environment": "0f1e2d3c4b5a", "load": (0.4, 0.6),
                              "command": f"harness rerun {trial.id}"}  # fmt: skip
    if lost:
        reason = f"loss is not finite at step 17; last finite loss {losses[15]:.6g}"
        return Record(status=Status.DIVERGED, phase=Phase.TIMED, reason=reason, per_rank=[rank], **common), series
    name = f"eval_{facts['metric']}"
    done = list(range(asked.every, last + 1, asked.every))
    found = [
        Evaluation(step=step, train_s=step * step_s, metrics={name: held_out_at(asked, end, step)}) for step in done
    ]
    if family in asked.stops:
        values = {each.step: each.metrics[name] for each in found}
        best = (max if facts["better"] == "higher" else min)(values, key=lambda step: values[step])
        rank.facts["early_stopping"] = {"stopped_step": last, "best_step": best, "best_value": values[best]}
    told = {"metric": facts["metric"], "better": facts["better"], "target": asked.target}
    metrics = made._metrics(facts, trial, step_s, np.random.default_rng(3)) | learned(found, told)
    if family in asked.gaps:
        gap, value = asked.gaps[family] + 0.001 * seed, found[-1].metrics[name]
        metrics |= {f"gap_{facts['metric']}": gap, f"train_{facts['metric']}": value - gap}
    return Record(status=Status.OK, phase=Phase.DONE, parity=made._parity(trial), metrics=metrics, evaluations=found,
                  per_rank=[rank], **common), series  # fmt: skip


def recipes_run(asked: Recipes | None = None) -> StoredRun:
    """Every family × rate × seed."""
    asked = asked or Recipes()
    records: list[Record] = []
    series: dict[str, StepSeries] = {}
    for family, ladder in asked.ends.items():
        for lr, ends in ladder.items():
            for seed, end in enumerate(ends):
                record, own = record_of(asked, family, lr, seed, end)
                records.append(record)
                series[record.trial.id] = own
    varied = {key: [*asked.ends] if key == asked.key else [*LADDER] for key in (asked.key, "lr")}
    info = made.run_info(len(records), baseline={"recipe": dict(asked.baseline)}, compared_keys=["recipe"],
                         suite={"question": "Which recipe learns best?", "grid": {"recipe": varied}},
                         question="Which recipe learns best?", suite_file="optimizers.toml",
                         command="harness run optimizers.toml")  # fmt: skip
    facts = info.workloads[f"{asked.workload}/nano"]
    facts |= {
        "target": asked.target,
        "trivial": {"unigram": 3.24, "bigram": 2.32} if asked.workload == "gpt" else {"majority": 0.1},
    }
    return StoredRun(Path("results/runs/recipes"), info, records, [], series, [])


def workloads_run(ends: Mapping[str, Sequence[float]] | None = None) -> StoredRun:
    """Groups of one cell: each workload with its own recipe, once per seed."""
    ends = ends or {"gpt": (1.52, 1.55, 1.50), "resnet": (0.991, 0.985, 0.96)}
    runs = [
        recipes_run(
            Recipes(
                ends={"adamw": {3e-3: own}}, workload=name, target=1.60 if name == "gpt" else 0.97,
                gaps={"adamw": 0.02 if name == "gpt" else 0.004},
            )
        )
        for name, own in ends.items()
    ]  # fmt: skip
    first = runs[0]
    workloads = {
        name: facts for run in runs for name, facts in run.info.workloads.items() if facts["target"] is not None
    }
    for run, name in zip(runs, ends, strict=True):
        workloads[f"{name}/nano"] = run.info.workloads[f"{name}/nano"]
    info = first.info.model_copy(update={
        "workloads": workloads, "compared_keys": ["strategy"], "baseline": {"strategy": "single"},
        "planned": sum(len(run.records) for run in runs), "question": "Does every workload reach its target?",
    })  # fmt: skip
    return replace(first, info=info, records=[record for run in runs for record in run.records],
                   series={key: own for run in runs for key, own in run.series.items()})  # fmt: skip
