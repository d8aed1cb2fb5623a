"""Predicted memory beside measured memory, kind by kind: where they differ, what was predicted does not explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.cells import MEMORY, Cell
from harness.analyse.quantity import count, listed, size, times
from harness.analyse.study import Group
from harness.schema.prediction import MEASURED

APART = 0.1
"""Share of a prediction from which a measured figure is called different."""
OF_PEAK = 0.02
"""Share of the predicted peak that a difference must be: a kind of a few bytes is never worth a sentence."""
NAMES = {
    "memory_parameters_bytes": "parameters",
    "memory_gradients_bytes": "gradients",
    "memory_optimizer_bytes": "optimizer state",
    "memory_activations_bytes": "activations",
    "memory_other_bytes": "other",
    MEMORY: "peak",
}
"""Metric of measured memory → the kind in words."""


@dataclass(frozen=True)
class Compared:
    """One kind of a cell's memory, or its peak. ratio: measured ÷ predicted; None where nothing was predicted of it."""

    kind: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float | None:
        """Measured ÷ predicted."""
        return self.measured / self.predicted if self.predicted > 0 else None


def compared(cell: Cell) -> list[Compared]:
    """Kinds that are in the prediction or in what was measured, and the peak; empty where either is not known."""
    pairs = {NAMES[own]: (cell.metrics.get(other), cell.metrics.get(own)) for own, other in MEASURED.items()}
    known = {kind: (p, m) for kind, (p, m) in pairs.items() if p is not None and m is not None}
    return [Compared(kind, *pair) for kind, pair in known.items() if max(pair) > 0]


def apart(cell: Cell) -> list[Compared]:
    """The kinds, or the peak, whose measured bytes differ from the predicted ones by more than a tenth of them."""
    found = compared(cell)
    peak = next((each.predicted for each in found if each.kind == NAMES[MEMORY]), 0.0)
    return [each for each in found if abs(each.measured - each.predicted) > max(APART * each.predicted, OF_PEAK * peak)]


def in_words(group: Group) -> str:
    """What the group's cells say of their predictions; empty where none has one that was measured too."""
    cells = [cell for cell in group.ranking if compared(cell)]
    differing = [cell for cell in cells if apart(cell)]
    if not cells:
        return ""
    if not differing:
        which = f"all {count(len(cells), 'cell')} with a prediction" if len(cells) > 1 else cells[0].label
        return f"As predicted: in {which} the measured peak, and each kind of it, is within 10 % of the prediction."
    more = len(cells) - len(differing)
    rest = f" {count(more, 'other cell is', 'other cells are')} as predicted." if more else ""
    return f"{listed([f'{cell.label}: {_differences(apart(cell))}' for cell in differing], most=4)}.{rest}"


def _differences(kinds: Sequence[Compared]) -> str:
    return listed([_difference(each) for each in kinds])


def _difference(each: Compared) -> str:
    verb = "are" if each.kind.endswith("s") else "is"
    if each.ratio is None:
        return f"{each.kind} {verb} {size(each.measured)} where none were predicted"
    figures = f"{size(each.measured)} against {size(each.predicted)}"
    return f"{each.kind} {verb} {times(each.ratio)} what was predicted ({figures})"
