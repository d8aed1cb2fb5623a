"""Metrics of the ranks reduced to those of the trial: each by its rule. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.schema.record import RankResult
from harness.schema.trial import Trial

SUMMED = frozenset({"step_cpu_s", "window_samples", "harness_cpu_s", "energy_j", "power_w"})
"""Metrics added up over ranks."""
OF_RANK_0 = frozenset({"parameters", "skipped_steps", "loss_scale", "warmup_steps"})
"""Metrics that are the same on every rank, or known to rank 0 alone; so are all `eval_` metrics."""
METERED = frozenset({"energy_j", "power_w"})
"""Metrics that are of each rank's devices, or of the whole machine: then one rank reads for all."""
PARTS = {"memory_": "peak_allocated_bytes", "communicated_": "communicated_bytes"}
"""Parts of a whole, by how their names begin: those of the rank whose whole is the largest, so that they add up."""


def over_ranks(trial: Trial, ranks: Sequence[RankResult]) -> dict[str, float]:
    """Each rank metric reduced by its rule: sum, rank 0's, or the largest; parts of a whole are those of one rank."""
    metrics = {}
    for name in sorted({name for rank in ranks for name in rank.metrics}):
        values = [rank.metrics[name] for rank in ranks if name in rank.metrics]
        if name in OF_RANK_0 or name.startswith("eval_"):
            values = [ranks[0].metrics[name]] if name in ranks[0].metrics else []
        elif name in METERED and _of_machine(ranks):
            pass  # rank 0 read what all ranks used together
        elif whole := next((PARTS[start] for start in PARTS if name.startswith(start) and name != PARTS[start]), None):
            values = _of_fullest(trial, ranks, name, whole)
        elif len(values) < trial.processes:
            continue  # some rank ended before it knew: a sum or a maximum over the others would be too small
        if values and all(math.isfinite(value) for value in values):
            metrics[name] = math.fsum(values) if name in SUMMED else max(values)
    return metrics


def _of_fullest(trial: Trial, ranks: Sequence[RankResult], name: str, whole: str) -> list[float]:
    """The part that the rank with the largest whole has, where every rank knows its whole."""
    known = [rank for rank in ranks if whole in rank.metrics]
    if len(known) < trial.processes:
        return []
    fullest = max(known, key=lambda rank: rank.metrics[whole])
    return [fullest.metrics[name]] if name in fullest.metrics else []


def _of_machine(ranks: Sequence[RankResult]) -> bool:
    """Whether energy was read of the whole machine by rank 0, and all ranks were on it."""
    energy = ranks[0].facts.get("energy")
    return isinstance(energy, dict) and energy.get("of") == "machine" and len({rank.host for rank in ranks}) == 1
