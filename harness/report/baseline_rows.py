"""Rows about baselines: what an update changes, cell by cell, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analyse.baselines import Change, difference
from harness.analyse.quantity import SPACE, digits, duration, size
from harness.report.comparison import percent
from harness.report.text import clip
from harness.schema.measured import Measured
from harness.schema.metrics import metric as definition_of

SHOWN = ("step_s", "step_cpu_s", "peak_allocated_bytes")
"""Metrics with a column of their own; a difference in any other counts as a change all the same."""


def change_rows(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """A row per cell: old → new."""
    return [
        {
            "cell": clip(change.label, 80),
            "what": change.word,
            "rounds": _arrow(*(str(n) if n else "" for n in (change.old_rounds, change.new_rounds))),
            **{name: _figures(change, name) for name in SHOWN},
        }
        for change in changes
    ]


def _figures(change: Change, name: str) -> str:
    old, new = ((side or {}).get(name) for side in (change.old, change.new))
    text = _arrow(*("" if value is None else figure(name, value) for value in (old, new)))
    return f"{text} ({percent(new / old)})" if old and new is not None and old != new else text


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old or '–'} → {new or '–'}"


def figure(name: str, value: float) -> str:
    """A value in the unit of its metric."""
    unit = definition_of(name).unit
    if unit == "s":
        return duration(value)
    return size(value) if unit == "B" else f"{digits(value)}{SPACE}{unit}"


def kept_rows(path: Path, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row per cell of one baseline."""
    sessions = sorted({item.session for item in measured})
    return [
        {
            "machine": path.parent.name,
            "suite": path.stem,
            "cell": clip(change.label, 80),
            "rounds": change.new_rounds,
            **{name: figure(name, change.new[name]) for name in SHOWN if change.new and name in change.new},
            "session": ", ".join(sessions),
        }
        for change in difference([], measured)
    ]
