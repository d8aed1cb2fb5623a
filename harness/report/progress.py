"""What a person sees while a suite runs: a live matrix on a terminal, plain lines elsewhere. Prints nothing itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from harness.measure.progress import told
from harness.report.running import clock_text, fitted, running_line
from harness.report.text import clip
from harness.run.conduct import Event
from harness.run.remaining import Remaining
from harness.schema.record import Record, Status
from harness.schema.trial import Trial

GLYPHS = {Status.OK: ("●", "green"), Status.UNSUPPORTED: ("–", "dim"), Status.INTERRUPTED: ("◌", "yellow")}
FAILED = ("✗", "red bold")
KEPT = ("○", "green")
BETWEEN = 6
"""Characters around the three columns."""
RUNNING = ("▸", "cyan bold")
WAITING = ("·", "dim")


class Matrix:
    """Cells × rounds with the state of each trial, and a line about what runs now; a rich renderable.

    remaining: what the time left goes by.
    """

    def __init__(self, trials: Sequence[Trial], remaining: Remaining | None = None):
        self._labels: dict[str, str] = {}
        for trial in sorted(trials, key=lambda trial: (trial.workload.label, trial.size, trial.label)):
            self._labels.setdefault(trial.cell, trial.label)
        self._rounds = sorted({(trial.repeat, trial.seed) for trial in trials})
        self._marks: dict[tuple[str, int, int], tuple[str, str]] = {}
        self._rates: dict[str, float] = {}
        self._last, self._at = "preparing data, timing matrix products", ""
        self._place = (0, len(trials))
        self._running: tuple[Trial, Path] | None = None
        self._remaining = remaining
        self._began = time.monotonic()

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        trial = event.trial
        where = (trial.cell, trial.repeat, trial.seed)
        self._last, self._place = f"{event.done}/{event.total}  {describe(event)}", (event.done, event.total)
        if self._remaining is not None:
            self._remaining.observe(event, time.monotonic())
        if event.kind not in ("started", "reference"):
            self._running = None
        if event.kind == "tried":
            return
        if event.kind == "started":
            self._marks[where], self._at = RUNNING, trial.cell
        elif event.record is not None:
            failed = GLYPHS.get(event.record.status, FAILED)
            self._marks[where] = KEPT if event.kind == "kept" else failed
            if "samples_per_s" in event.record.metrics:
                self._rates[trial.cell] = event.record.metrics["samples_per_s"]
            if event.record.status is Status.UNSUPPORTED:
                for repeat, seed in self._rounds:
                    self._marks[trial.cell, repeat, seed] = GLYPHS[Status.UNSUPPORTED]

    def watch(self, trial: Trial, folder: Path) -> None:
        """From now on this trial runs and tells in this folder how far it is."""
        self._running = (trial, folder)

    def line(self, width: int) -> str:
        """What runs now, in at most so many cells; between trials what happened last."""
        now = time.monotonic()
        elapsed_s, left_s = now - self._began, self._remaining.left_s(now) if self._remaining is not None else None
        if self._running is None:
            return fitted(clip(self._last, 400), [([clock_text(elapsed_s)], 0)], width)
        trial, folder = self._running
        return running_line(width, *self._place, trial, told(folder), elapsed_s, left_s)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        table = Table(box=None, padding=(0, 1), show_header=True, header_style="dim")
        table.add_column("cell", no_wrap=True, overflow="ellipsis")
        table.add_column("rounds", no_wrap=True)
        table.add_column("samples/s", justify="right", no_wrap=True)
        rounds = self._rounds[-max(8, width // 3) :]
        names = max(12, min(120, width - max(len("rounds"), len(rounds)) - len("samples/s") - BETWEEN))
        shown, hidden = self._seen(console.size.height - 3)
        for cell, label in shown:
            marks = Text()
            for repeat, seed in rounds:
                marks.append(*self._marks.get((cell, repeat, seed), WAITING))
            rate = self._rates.get(cell)
            table.add_row(Text(clip(label, names)), marks, f"{rate:,.1f}" if rate else "")
        if hidden:
            table.add_row(Text(f"… {hidden:,} cells more", style="dim"))
        yield table
        yield Text(self.line(width - 1), style="dim", no_wrap=True, overflow="crop", end="")

    def _seen(self, rows: int) -> tuple[list[tuple[str, str]], int]:
        """The cells that fit on the screen, around the one that runs, and how many do not."""
        cells = list(self._labels.items())
        if len(cells) <= rows:
            return cells, 0
        rows = max(1, rows - 1)
        at = list(self._labels).index(self._at) if self._at in self._labels else 0
        first = min(max(0, at - rows // 2), len(cells) - rows)
        return cells[first : first + rows], len(cells) - rows


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
