"""A figure that is held against its goal: one line of the table that a calibration prints."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True)
class Figure:
    """A figure with its goal. met: whether it is reached."""

    name: str
    goal: str
    measured: str
    met: bool


def say(text: str) -> None:
    """A line on standard error, as it is."""
    Console(stderr=True).print(text, markup=False, highlight=False)
