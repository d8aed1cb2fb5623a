"""What each metric is judged by: how much matters, and whether it is timed or counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.schema.metrics import metric as definition_of

Kind = Literal["timed", "counted", "identity"]


@dataclass(frozen=True)
class Gate:
    """kind: timed (differs from run to run: statistics), counted (does not: any difference is one), identity (must be
    equal: else another thing was measured); practical: relative difference from which on it matters.
    """

    metric: str
    kind: Kind
    practical: float = 0.01

    @property
    def band(self) -> float:
        """The practical difference as a log ratio."""
        return math.log1p(self.practical)

    @property
    def higher_is_better(self) -> bool:
        """Which way is better, by the dictionary of metrics."""
        return definition_of(self.metric).better == "higher"


WALL_ON_CPU = 0.10
"""Wall time on CPU is what the machine's other work leaves: identical code differs by 5 to 8 % even interleaved."""
ROUND = 0.05
"""Rounds of pytest-benchmark are of another session than the other side's: an anchor takes most of it away, not all."""
WALL_OF_SESSIONS = 1.0
"""Of wall time on CPU it takes nothing away: two sessions of identical code were up to 5.6× apart on a busy machine."""
COUNTED = ("peak_allocated_bytes", "communicated_bytes", "model_flops")
IDENTITY = ("parameters",)


def gates(device: str) -> list[Gate]:
    """The gates of a device, in the order in which they are told."""
    timed = [Gate("step_s", "timed", WALL_ON_CPU if device == "cpu" else 0.01), Gate("step_cpu_s", "timed")]
    if device != "cpu":  # the processor only launches work there
        timed = [timed[0], Gate("step_cpu_s", "timed", WALL_ON_CPU)]
    timed += [Gate("round_s", "timed", WALL_OF_SESSIONS if device == "cpu" else ROUND)]
    timed += [Gate("round_cpu_s", "timed", ROUND)]
    timed += [Gate("compile_s", "timed", 0.10), Gate("joules_per_sample", "timed", 0.05)]
    return [*timed, *(Gate(name, "counted") for name in COUNTED), *(Gate(name, "identity") for name in IDENTITY)]
