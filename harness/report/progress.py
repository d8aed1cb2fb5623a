"""What a person sees while a suite runs: a live matrix on a terminal, plain lines elsewhere. Prints nothing itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.run.conduct import Event
from harness.schema.record import Record, Status
from harness.schema.trial import Trial

GLYPHS = {Status.OK: ("●", "green"), Status.UNSUPPORTED: ("–", "dim"), Status.INTERRUPTED: ("◌", "yellow")}
FAILED = ("✗", "red bold")
KEPT = ("○", "green")
RUNNING = ("▸", "cyan bold")
WAITING = ("·", "dim")


class Matrix:
    """Cells × rounds with the state of each trial; a rich renderable that is drawn anew at each event."""

    def __init__(self, trials: Sequence[Trial]):
        self._labels: dict[str, str] = {}
        for trial in sorted(trials, key=lambda trial: (trial.workload.label, trial.size, trial.label)):
            self._labels.setdefault(trial.cell, trial.label)
        self._rounds = sorted({(trial.repeat, trial.seed) for trial in trials})
        self._marks: dict[tuple[str, int, int], tuple[str, str]] = {}
        self._rates: dict[str, float] = {}
        self._last = ""
        self._began = time.monotonic()

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        trial = event.trial
        where = (trial.cell, trial.repeat, trial.seed)
        self._last = f"{event.done}/{event.total}  {describe(event)}"
        if event.kind == "tried":
            return
        if event.kind == "started":
            self._marks[where] = RUNNING
        elif event.record is not None:
            failed = GLYPHS.get(event.record.status, FAILED)
            self._marks[where] = KEPT if event.kind == "kept" else failed
            if "samples_per_s" in event.record.metrics:
                self._rates[trial.cell] = event.record.metrics["samples_per_s"]
            if event.record.status is Status.UNSUPPORTED:
                for repeat, seed in self._rounds:
                    self._marks[trial.cell, repeat, seed] = GLYPHS[Status.UNSUPPORTED]

    def __rich__(self) -> RenderableType:
        table = Table(box=None, padding=(0, 1), show_header=True, header_style="dim")
        table.add_column("cell", no_wrap=True, overflow="ellipsis")
        table.add_column("rounds", no_wrap=True)
        table.add_column("samples/s", justify="right", no_wrap=True)
        for cell, label in self._labels.items():
            marks = Text()
            for repeat, seed in self._rounds:
                marks.append(*self._marks.get((cell, repeat, seed), WAITING))
            rate = self._rates.get(cell)
            table.add_row(Text(label), marks, f"{rate:,.1f}" if rate else "")
        elapsed = time.monotonic() - self._began
        return Group(table, Text(f"{elapsed:.0f} s  {self._last}", style="dim", no_wrap=True, overflow="ellipsis"))


def describe(event: Event) -> str:
    """One plain line about an event."""
    trial = event.trial
    name = f"{trial.label} round {trial.repeat + 1} seed {trial.seed}"
    if event.kind == "reference":
        name = f"{trial.workload.label}/{trial.size} {trial.recipe_told}".rstrip()
        return f"reference {name}: one process, fp32, {trial.parity_steps} steps"
    if event.kind == "tried" and event.record is not None:
        fits = "fits" if event.record.status is Status.OK else f"does not: {event.record.status}: {event.record.reason}"
        return f"try {trial.label} micro_batch {trial.micro_batch}: {fits}"
    if event.kind == "started" or event.record is None:
        return f"start {name}"
    if event.kind == "kept":
        return f"kept {name} (stored by {event.record.resumed_from})"
    return f"{_ending(event.record)} {name}{_figures(event.record)}"


def _ending(record: Record) -> str:
    if record.status is Status.OK:
        return "done"
    if record.status in (Status.UNSUPPORTED, Status.INTERRUPTED):
        return record.status.lower()
    return f"FAILED {record.status}"


def _figures(record: Record) -> str:
    if record.status is not Status.OK:
        return f": {record.reason}"
    metrics = record.metrics
    if record.trial.kind == "trace":
        known = "comm_exposed_s" in metrics
        return f": {metrics['comm_exposed_s'] * 1e3:.2f} ms of exposed communication a step" if known else ""
    return f": {metrics['step_s'] * 1e3:.2f} ms a step, {metrics['samples_per_s']:,.1f} samples/s"
