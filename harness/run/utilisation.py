"""Model FLOPs and their utilisation (MFU): what a step computes over what its devices could. Pure.

    model_flops  = flops_per_sample × global_batch
    mfu_measured = model_flops ÷ (step_s × devices × measured peak of one device in the precision used)
    mfu          = the same over the datasheet's peak

A share above 1 is no figure: then a count, a time or a peak is wrong, and the record says so.
Source: https://arxiv.org/abs/2204.02311 (appendix B)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.schema.record import Peak, Record, RunInfo
from harness.schema.suite import Choice
from harness.schema.trial import Trial
from harness.strategies import registry as strategies

IMPOSSIBLE = "would be above 1"
"""What the reason begins with where a share of a peak is larger than all of it."""


@dataclass(frozen=True)
class Wanted:
    """A peak that trials need. cores: how many a rank has, on CPU; None on accelerators."""

    device: str
    cores: int | None
    precision: Choice


def wanted_peaks(trials: Iterable[Trial], cores: Sequence[int]) -> list[Wanted]:
    """Each peak once that these trials need. cores: ids that this process may use."""
    return list(dict.fromkeys(Wanted(trial.device, _cores(trial, len(cores)), computed_in(trial)) for trial in trials))


def computed_in(trial: Trial) -> Choice:
    """The precision whose products the trial computes: its own, or what its strategy computes in by itself."""
    strategy = trial.strategy
    own = strategies[strategy.name].facts.computes_in if strategy.name in strategies else None
    name = own(**strategy.options) if own else None
    return Choice(name=name) if name else trial.precision


def _cores(trial: Trial, there: int) -> int | None:
    """Cores of a rank: its shares, each cores ÷ devices of the suite (see executors.local.jobs)."""
    return max(1, there // trial.device_slots) * trial.shares if trial.device == "cpu" else None


def with_utilisation(record: Record, info: RunInfo) -> Record:
    """The record with model_flops, mfu and mfu_measured, or with the reasons why they are absent.

    Records without a step time stay as they are: there is nothing to divide by.
    """
    trial, step_s = record.trial, record.metrics.get("step_s")
    if step_s is None or step_s <= 0:
        return record
    facts = info.workloads.get(f"{trial.workload.label}/{trial.size}", {})
    per_sample = facts.get("flops_per_sample")
    if not isinstance(per_sample, (int, float)):
        reason = str(facts.get("flops_absent") or "run.json holds no FLOPs of this workload")
        return _with(record, {}, {"model_flops": reason})
    flops = float(per_sample) * trial.global_batch
    peak = _peak_of(record, info.peaks)
    metrics, absent = {"model_flops": flops}, {}
    for name, per_device, why in (
        ("mfu_measured", peak.flops_per_s, peak.absent or "no peak was measured"),
        ("mfu", peak.datasheet_flops_per_s, f"no datasheet figure of {peak.name or peak.device} in {peak.precision}"),
    ):
        share = flops / (step_s * _units(trial) * per_device) if per_device else None
        if share is None:
            absent[name] = why
        elif share > 1:
            absent[name] = f"{IMPOSSIBLE} ({share:.3g}): the FLOPs, the step time or the peak is wrong"
        else:
            metrics[name] = share
    return _with(record, metrics, absent)


def _units(trial: Trial) -> int:
    """How many times the trial has what the peak is of: accelerators, or on CPU ranks with their cores."""
    return trial.processes if trial.device == "cpu" else trial.devices


def _peak_of(record: Record, peaks: Sequence[Peak]) -> Peak:
    """The peak of one device of the trial, as it really had it; one without figures, with the reason, where none is."""
    trial, rank = record.trial, record.per_rank[0] if record.per_rank else None
    name, cores = rank.device if rank else "", None
    precision = computed_in(trial).label
    missing = Peak(device=trial.device, name=name, precision=precision)
    if trial.device == "cpu":
        of_ranks = [core for each in record.per_rank for core in each.cores]
        cores = len(rank.cores) if rank else 0
        if len(of_ranks) > len(set(of_ranks)):
            return missing.model_copy(update={"absent": "the ranks share cores: none has its peak to itself"})
    for peak in peaks:
        if (peak.device, peak.precision, peak.cores) == (trial.device, precision, cores):
            if peak.name and name and peak.name != name:
                reason = f"the peak was measured on {peak.name}, the trial ran on {name}"
                return missing.model_copy(update={"absent": reason})
            return peak
    where = f"{cores} core{'' if cores == 1 else 's'}" if cores is not None else name or trial.device
    return missing.model_copy(update={"absent": f"no peak was measured in {precision} on {where}"})


def _with(record: Record, metrics: dict[str, float], absent: dict[str, str]) -> Record:
    return record.model_copy(update={"metrics": record.metrics | metrics, "absent": record.absent | absent})
