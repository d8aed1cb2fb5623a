"""What a comparison says of one cell and metric: one of five words, with the effect, how sure it is, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["regressed", "improved", "same", "undecided", "not comparable"]


@dataclass(frozen=True)
class Judgement:
    """What is said of one cell and metric. effect, low, high: ratios of B to A, the interval at 95 %, corrected for
    nothing; p: corrected over the comparison; detectable: the smallest ratio above 1 that these rounds would have
    found nine times in ten; needed: rounds in all that would decide it, None where no number would.
    """

    cell: str
    metric: str
    verdict: Verdict
    reason: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    p: float | None = None
    detectable: float | None = None
    needed: int | None = None
