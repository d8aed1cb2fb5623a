"""What a trial learned, from its evaluations: the last, the first that reached the target, and how it generalises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.schema.record import Evaluation

PREFIXES = ("eval_", "train_")


def learned(evaluations: Sequence[Evaluation], facts: dict[str, Any]) -> dict[str, float]:
    """The last evaluation's metrics, the generalisation gap, and the first evaluation that reaches the target.

    facts: the workload's metric, which way it is better, and its target, as a rank has noted them.
    """
    if not evaluations:
        return {}
    metric, higher = str(facts.get("metric", "")), facts.get("better") == "higher"
    named = [_named(evaluation) for evaluation in evaluations]
    found = named[-1] | _gap(named[-1], metric, higher) | _best(metric, facts)
    target = facts.get("target")
    if not isinstance(target, (int, float)) or not math.isfinite(target):
        return found
    for evaluation, metrics in zip(evaluations, named, strict=True):
        value = metrics.get(f"eval_{metric}")
        if value is not None and (value >= target if higher else value <= target):
            return found | {"steps_to_target": float(evaluation.step), "time_to_target_s": evaluation.train_s}
    return found


def _gap(metrics: dict[str, float], metric: str, higher: bool) -> dict[str, float]:
    held_out, seen = metrics.get(f"eval_{metric}"), metrics.get(f"train_{metric}")
    if held_out is None or seen is None:
        return {}
    return {f"gap_{metric}": seen - held_out if higher else held_out - seen}


def _best(metric: str, facts: dict[str, Any]) -> dict[str, float]:
    """The value of the best evaluation, as early stopping has noted it."""
    noted = facts.get("early_stopping")
    value = noted.get("best_value") if isinstance(noted, dict) else None
    return {f"best_{metric}": float(value)} if isinstance(value, int | float) else {}


def _named(evaluation: Evaluation) -> dict[str, float]:
    return {name if name.startswith(PREFIXES) else f"eval_{name}": value for name, value in evaluation.metrics.items()}
