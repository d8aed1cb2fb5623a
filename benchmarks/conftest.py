"""Figures of the harness itself: each benchmark leaves its figure and goal, the end of the run prints them all."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

pytest_plugins = ("harness.pytest_plugin",)
"""Where the package is installed as it stands pytest has it already, by its entry point of the same name."""
FIGURES: list[dict[str, Any]] = []
Figure = Callable[..., None]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Measure these benchmarks as the harness measures."""
    config.option.harness_benchmarks = True


@pytest.fixture
def figure(benchmark: Any) -> Figure:
    """`figure(name, measured, goal, low, high, note)`: keep one figure with the range it should lie in."""

    def keep(name: str, measured: float, goal: str, low: float, high: float, note: str = "") -> None:
        row = {"figure": name, "measured": measured, "goal": goal, "met": low <= measured <= high, "note": note}
        FIGURES.append(row)
        benchmark.extra_info[name] = measured

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures, and write them as JSON where DYNAMOMETER_FIGURES says."""
    if not FIGURES:
        return
    table = Table(title="Figures of the harness (ratios and seconds of this run)", title_justify="left", box=None)
    for name in ("figure", "measured", "goal", "met", "note"):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for row in FIGURES:
        met = "yes" if row["met"] else "NO"
        table.add_row(row["figure"], f"{row['measured']:.4g}", row["goal"], met, row["note"])
    console = Console(width=150)
    with console.capture() as text:
        console.print(table)
        console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()}")
    terminalreporter.write_line("")
    terminalreporter.write(text.get())
    if target := os.environ.get("DYNAMOMETER_FIGURES"):
        Path(target).write_text(json.dumps(FIGURES, indent=1))
