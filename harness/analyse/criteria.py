"""What each metric is judged by: how much matters, and whether it is timed, counted or learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.schema.metrics import metric as definition_of

Kind = Literal["timed", "counted", "identity", "learned"]


@dataclass(frozen=True)
class Criterion:
    """kind: timed (differs from run to run: statistics), counted (does not: any difference is one), identity (must be
    equal: else another thing was measured), learned (differs from seed to seed: see `learned_compare`); practical:
    relative difference from which on it matters; better: where the dictionary leaves that to the workload.
    """

    metric: str
    kind: Kind
    practical: float = 0.01
    across: bool = True
    """whether an anchor makes it comparable between two sessions"""
    better: Literal["higher", "lower"] | None = None

    @property
    def band(self) -> float:
        """The practical difference as a log ratio."""
        return math.log1p(self.practical)

    @property
    def higher_is_better(self) -> bool:
        """Which way is better, by the dictionary of metrics or the workload."""
        return (self.better or definition_of(self.metric).better) == "higher"


WALL_ON_CPU = 0.10
"""Wall time on CPU is what the machine's other work leaves: identical code differs by 5 to 8 % even interleaved."""
ROUND = 0.05
"""Rounds of pytest-benchmark are of another session than the other side's: an anchor takes most of it away, not all."""
COUNTED = ("peak_allocated_bytes", "communicated_bytes", "model_flops")
IDENTITY = ("parameters",)
LOSS_AREA = "loss_area"
TO_TARGET = ("steps_to_target", "time_to_target_s")


def criteria(device: str) -> list[Criterion]:
    """The criteria of a device, in the order in which they are told."""
    on_cpu = device == "cpu"
    timed = [
        Criterion("step_s", "timed", WALL_ON_CPU if on_cpu else 0.01, not on_cpu),
        Criterion("step_cpu_s", "timed"),
    ]
    if not on_cpu:  # the processor only launches work there
        timed = [timed[0], Criterion("step_cpu_s", "timed", WALL_ON_CPU)]
    timed += [Criterion("round_s", "timed", WALL_ON_CPU if on_cpu else ROUND, not on_cpu)]
    timed += [Criterion("round_cpu_s", "timed", ROUND)]
    timed += [Criterion("compile_s", "timed", 0.10), Criterion("joules_per_sample", "timed", 0.05)]
    return [
        *timed,
        *(Criterion(name, "counted") for name in COUNTED),
        *(Criterion(name, "identity") for name in IDENTITY),
    ]


def loss_criterion() -> Criterion:
    """The primary criterion of what is learned: a difference of 0.1 % matters, as identical code shows none at all."""
    return Criterion(LOSS_AREA, "learned", 0.001)


def held_out_criterion(metric: str, better: Literal["higher", "lower"]) -> Criterion:
    """Of the held-out metric after the last step. metric: without `eval_`."""
    return Criterion(f"eval_{metric}", "learned", 0.01, better=better)


def target_criterion(metric: str) -> Criterion:
    """Of steps or seconds to the target, which differ by 14 to 17 % from seed to seed."""
    return Criterion(metric, "learned", 0.10)


def is_learned(metric: str) -> bool:
    """Whether a metric is one of what is learned."""
    return metric in (LOSS_AREA, *TO_TARGET) or metric.startswith("eval_")
