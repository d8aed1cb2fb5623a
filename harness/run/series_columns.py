"""Series of many trials as columns laid under one another; a trial's lists are made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.schema.record import StepSeries

if TYPE_CHECKING:
    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Ints = np.ndarray[Any, np.dtype[np.int64]]


class SeriesColumns(Mapping[str, StepSeries]):
    """Series by trial id. In a column a number takes 8 bytes, in a list 32: Python keeps each as an object of its own.

    names: trial ids; of_row: which of them each row is of; columns: by name, one after the other, NaN where a value is
    absent. A column without any value in a trial is left out of it. Numbers need no further check.
    """

    def __init__(self, names: Sequence[str], of_row: Ints, columns: Iterable[tuple[str, Floats]]):
        order, ends = np.argsort(of_row, kind="stable"), np.cumsum(np.bincount(of_row, minlength=len(names)))
        self._columns = {key: column[order] for key, column in columns}
        starts = [0, *ends.tolist()]
        self._rows = {name: slice(*starts[at : at + 2]) for at, name in enumerate(names)}

    def __getitem__(self, trial_id: str) -> StepSeries:
        rows = self._rows[trial_id]
        found = ((key, _values(column[rows])) for key, column in self._columns.items())
        known = {key: values for key, values in found if values is not None}
        return StepSeries.model_construct(trial_id=trial_id, columns=known)

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _values(column: Floats) -> list[float | None] | None:
    """A trial's values of a column; None where there is none at all."""
    known = np.isfinite(column)
    if not known.any():
        return None
    values: list[float | None] = column.tolist()
    return values if known.all() else [value if there else None for value, there in zip(values, known, strict=True)]
