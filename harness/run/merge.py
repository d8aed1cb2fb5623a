"""One record of what the ranks left behind, successful or not. Pure: the parent calls it with JSON that it has read.

A rate is the samples of ALL ranks over the seconds of the slowest; a figure that only some ranks left is no figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from harness.measure.parity import check_parity
from harness.run.blame import Blame, Ended, blame
from harness.run.learned import learned
from harness.run.reduction import over_ranks
from harness.schema.metrics import metric
from harness.schema.record import Applied, Evaluation, Parity, Phase, RankResult, Record, Status, StepSeries, Warmup
from harness.schema.trial import Trial

NEEDED = ("step_s", "window_s", "window_samples", "samples_per_s")
"""Without these a trial has nothing to show."""
Series = dict[str, list[float | None]]


def merge(
    trial: Trial,
    ranks: Sequence[RankResult],
    reference: tuple[Record, StepSeries | None] | None,
    *,
    ended: Ended = "exit",
    started_at: float,
    ended_at: float,
    load: tuple[float, float] | None = None,
    environment: str = "",
    command: str = "",
) -> tuple[Record, StepSeries]:
    """Compose the record and the per-step series of a trial.

    ranks: results as left, exit codes and signals filled in by the executor; reference: what the first steps are
    compared with; ended: how the executor saw the trial end; started_at, ended_at: seconds since the epoch; load:
    1-minute load averages at start and end; environment: machine key; command: what repeats this trial.
    """
    ranks = sorted(ranks, key=lambda rank: rank.rank)
    first = ranks[0] if ranks and ranks[0].rank == 0 else None
    columns = merged_series(ranks)
    metrics = merged_metrics(trial, ranks, columns, ended_at - started_at) if first else {}
    parity = parity_of(trial, first, columns, reference) if first else None
    applied = [fact for rank in ranks for fact in rank.applied if rank.rank == 0 or not fact.ok]
    found = blame(ranks, trial.processes, ended, trial.timeout_s)
    found = judged(found, columns, applied, _missing(trial, columns, metrics), parity)
    record = Record(
        trial=trial,
        status=found.status,
        reason=found.reason,
        phase=found.phase,
        applied=applied,
        parity=parity,
        warmup=_warmup(first),
        metrics=metrics,
        evaluations=_evaluations(first),
        per_rank=[_without_series(rank) for rank in ranks],
        environment=environment,
        load=load,
        started_at=iso(started_at),
        ended_at=iso(ended_at),
        command=command,
    )
    return record, StepSeries(trial_id=trial.id, columns=columns)


def judged(
    found: Blame, columns: Series, applied: Sequence[Applied], missing: Sequence[str], parity: Parity | None
) -> Blame:
    """How the trial ended: what the ranks said of it, then what their figures say. The first thing wrong counts."""
    if found.status not in (Status.OK, Status.CRASHED, Status.TIMEOUT):
        return found
    if diverged := _not_finite(columns.get("loss", [])):
        return Blame(Status.DIVERGED, diverged, found.phase)
    if found.status is not Status.OK:
        return found
    if wrong := [f"{fact.fact}: asked {fact.asked}, found {fact.found}" for fact in applied if not fact.ok]:
        return Blame(Status.NOT_APPLIED, "; ".join(wrong), Phase.APPLIED)
    if missing:
        return Blame(Status.CRASHED, f"ended without figures: {', '.join(missing)}", found.phase)
    if parity and parity.status == "failed":
        return Blame(Status.PARITY_FAILED, parity.reason, Phase.PARITY)
    return found


def _missing(trial: Trial, columns: Series, metrics: dict[str, float]) -> list[str]:
    """Figures without which a trial that ended well is none: the timed ones; losses where nothing is timed; none of a
    try of a micro-batch.
    """
    if trial.kind != "measure":
        return [] if columns.get("loss") or trial.kind == "fit" else ["loss"]
    return [name for name in NEEDED if name not in metrics]


def merged_metrics(trial: Trial, ranks: Sequence[RankResult], columns: Series, trial_s: float) -> dict[str, float]:
    """All metrics of the trial. What is not finite, or not in the dictionary of metrics, is left out."""
    metrics = over_ranks(trial, ranks)
    metrics |= _rates(metrics, ranks[0].facts)
    metrics |= _last_values(columns)
    metrics |= learned(_evaluations(ranks[0]), ranks[0].facts)
    metrics["trial_s"] = trial_s
    training = [seconds for rank in ranks if (seconds := _number(rank.facts.get("training_wall_s"))) is not None]
    if len(training) == trial.processes:
        metrics["harness_overhead_s"] = trial_s - max(training)
    if warmup := _warmup(ranks[0]):
        metrics["warmup_steps"] = float(warmup.steps)
    return {name: value for name, value in metrics.items() if _known(name) and math.isfinite(value)}


def _rates(metrics: dict[str, float], facts: dict[str, Any]) -> dict[str, float]:
    """samples_per_s = samples of all ranks ÷ seconds of the slowest; useful units per second and energy from them."""
    if metrics.get("window_s", 0.0) <= 0 or "window_samples" not in metrics:
        return {}
    rates = {"samples_per_s": metrics["window_samples"] / metrics["window_s"]}
    unit, per_sample = facts.get("unit"), _number(facts.get("units_per_sample"))
    if isinstance(unit, str) and unit != "sample" and per_sample is not None:
        rates[f"{unit}s_per_s"] = rates["samples_per_s"] * per_sample
    if "energy_j" in metrics and metrics["window_samples"] > 0:
        rates["joules_per_sample"] = metrics["energy_j"] / metrics["window_samples"]
    return rates


def _last_values(columns: Series) -> dict[str, float]:
    """Loss and penalty at the last timed step; gradient norm at the last step where it was taken."""
    timed = columns.get("timed", [])
    inside = {
        name: [
            value for value, within in zip(columns.get(name, []), timed, strict=False) if within and value is not None
        ]
        for name in ("loss", "penalty")
    }
    norms = [norm for norm in columns.get("grad_norm", []) if norm is not None]
    found = {**inside, "grad_norm": norms}
    return {name: values[-1] for name, values in found.items() if values}


def merged_series(ranks: Sequence[RankResult]) -> Series:
    """Per-step values of the trial, as far as all ranks came.

    loss: mean over ranks, each of which has an equal share of the batch; step_s and other seconds: slowest rank;
    cpu_s: sum; step, timed, lr, grad_norm and penalty (already of the whole model) and all else: rank 0.
    """
    if not ranks or ranks[0].rank != 0:
        return {}
    lengths = [len(rank.series["step"]) for rank in ranks if "step" in rank.series]
    if not lengths or "step" not in ranks[0].series:
        return {}
    columns: Series = {}
    for name, own in ranks[0].series.items():
        every = [rank.series[name] for rank in ranks if name in rank.series]
        whole = [_at_step(name, values) for values in zip(*every, strict=False)]
        columns[name] = whole if name == "loss" or name == "cpu_s" or name.endswith("_s") else [*map(_finite, own)]
    shortest = min(lengths)
    return {name: values[:shortest] for name, values in columns.items()}


def _at_step(name: str, values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if name == "loss":
        return math.fsum(numbers) / len(numbers) if len(numbers) == len(values) else None
    if not numbers:
        return None
    return math.fsum(numbers) if name == "cpu_s" else max(numbers)


def parity_of(
    trial: Trial, first: RankResult, columns: Series, reference: tuple[Record, StepSeries | None] | None
) -> Parity | None:
    """The trial's first steps against the reference's; None where nothing is measured."""
    if trial.kind != "measure":
        return None
    equivalence, steps = str(first.facts.get("equivalence", "exact")), trial.parity_steps
    record, series = reference or (None, None)
    if record is None or series is None or record.status is not Status.OK:
        why = f": {record.status} {record.reason or ''}".rstrip() if record else ""
        return Parity(status="unchecked", equivalence=equivalence, reason=f"there is no reference{why}")
    if drawn := next(
        (rank.facts["random_numbers"] for rank in record.per_rank if "random_numbers" in rank.facts), None
    ):
        return Parity(status="unchecked", equivalence=equivalence, reason=f"one process is no measure: its {drawn}")
    if "dropout" in first.facts and trial.warmup_steps:
        steps = min(steps, trial.warmup_steps)  # dropout is back in the timed window
    return check_parity(
        columns.get("loss", [])[:steps],
        columns.get("grad_norm", [])[:steps],
        series.columns.get("loss", [])[:steps],
        series.columns.get("grad_norm", [])[:steps],
        equivalence,
        _skipped(columns, steps),
    )


def _skipped(columns: Series, steps: int) -> list[int]:
    """1-based steps whose update gradient scaling left out: the scale fell, or the unscaled norm is not finite."""
    scales, norms = columns.get("loss_scale", [])[:steps], columns.get("grad_norm", [])
    skipped = []
    for number, scale in enumerate(scales):
        before = scales[number - 1] if number else None
        fell = scale is not None and before is not None and scale < before
        if fell or (number < len(norms) and norms[number] is None):
            skipped.append(number + 1)
    return skipped


def _not_finite(loss: Sequence[float | None]) -> str | None:
    """What to say where a loss is not finite: the step and the last finite loss. A loss stands at every step."""
    for number, value in enumerate(loss):
        if value is None or not math.isfinite(value):
            last = loss[number - 1] if number else None
            return f"loss is not finite at step {number + 1}" + (f"; last finite loss {last:.6g}" if last else "")
    return None


def _evaluations(first: RankResult | None) -> list[Evaluation]:
    """Rank 0's evaluations, values that are not finite left out."""
    return [
        item.model_copy(update={"metrics": {k: v for k, v in item.metrics.items() if math.isfinite(v)}})
        for item in (first.evaluations if first else [])
    ]


def _warmup(first: RankResult | None) -> Warmup | None:
    try:
        return Warmup.model_validate(first.facts["warmup"]) if first else None
    except (KeyError, ValidationError):
        return None


def _without_series(rank: RankResult) -> RankResult:
    metrics = {name: value for name, value in rank.metrics.items() if math.isfinite(value)}
    return rank.model_copy(update={"series": {}, "metrics": metrics, "evaluations": _evaluations(rank)})


def _known(name: str) -> bool:
    try:
        metric(name)
    except KeyError:
        return False
    return True


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
