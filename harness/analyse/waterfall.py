"""From the baseline's step to a cell's: how much longer or shorter each part of the step is.

Parts are timed in steps of their own after the window, with a wait for the device after each, so that they do not sum
to `step_s`: what is left over is a part too, `rest`. All differences together are exactly that of the two steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOTAL = "step_s"
PARTS = ("data_wait_s", "forward_s", "backward_s", "optimizer_s")
"""Metrics of the parts, in the order in which a step runs through them."""
BLENDED = ("data_wait_s", "forward_backward_s", "optimizer_s")
"""The same where a strategy runs forward and backward in turn or side by side: they are one part, of both steps."""
REST = "rest"


@dataclass(frozen=True)
class Change:
    """One part: seconds of the step before and after it is exchanged, going from the baseline to the cell."""

    part: str
    before: float
    after: float

    @property
    def difference(self) -> float:
        """Seconds that the part takes more (+) or less (−) than in the baseline."""
        return self.after - self.before


@dataclass(frozen=True)
class Waterfall:
    """A cell's step explained by the baseline's. start, end: seconds of the two steps; changes: in order, from one to
    the other.
    """

    start: float
    end: float
    changes: tuple[Change, ...]

    @property
    def difference(self) -> float:
        """Seconds that the cell's step takes more (+) or less (−)."""
        return self.end - self.start


def waterfall(baseline: Mapping[str, float], cell: Mapping[str, float]) -> Waterfall | None:
    """The changes from the baseline's metrics to the cell's; None where a step or one of its parts is not known.

    change of a part = part of the cell − part of the baseline; rest = difference of the steps − sum of the changes
    """
    parts = BLENDED if any("forward_backward_s" in metrics for metrics in (baseline, cell)) else PARTS
    if parts is BLENDED:
        baseline, cell = _blended(baseline), _blended(cell)
    if any(name not in metrics for metrics in (baseline, cell) for name in (TOTAL, *parts)):
        return None
    at, changes = baseline[TOTAL], []
    for part in parts:
        after = at + cell[part] - baseline[part]
        changes.append(Change(part, at, after))
        at = after
    changes.append(Change(REST, at, cell[TOTAL]))
    return Waterfall(baseline[TOTAL], cell[TOTAL], tuple(changes))


def _blended(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """The metrics with forward and backward as one part, where they are two."""
    if "forward_s" not in metrics or "backward_s" not in metrics:
        return metrics
    return {**metrics, "forward_backward_s": metrics["forward_s"] + metrics["backward_s"]}
