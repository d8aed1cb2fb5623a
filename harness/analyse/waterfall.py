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
    if any(name not in metrics for metrics in (baseline, cell) for name in (TOTAL, *PARTS)):
        return None
    at, changes = baseline[TOTAL], []
    for part in PARTS:
        after = at + cell[part] - baseline[part]
        changes.append(Change(part, at, after))
        at = after
    changes.append(Change(REST, at, cell[TOTAL]))
    return Waterfall(baseline[TOTAL], cell[TOTAL], tuple(changes))
