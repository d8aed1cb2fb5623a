"""The live view of a run on a terminal: a matrix drawn at events, and its last line twice a second in between.

To draw the whole matrix takes this process some ten milliseconds, which would be missing where trials are timed. The
last line alone takes less than one: the cursor stands at its end, so it is written over.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

if TYPE_CHECKING:
    from pathlib import Path

    from harness.report.progress import Matrix
    from harness.run.conduct import Event
    from harness.schema.trial import Trial

TICK_S = 0.5
OVER, DIM, PLAIN = "\r\x1b[2K", "\x1b[2m", "\x1b[0m"


class LiveView:
    """Shows a matrix while its context is open; the cursor is given back however that ends."""

    def __init__(self, matrix: Matrix, console: Console, tick_s: float = TICK_S):
        self._matrix, self._console, self._tick_s = matrix, console, tick_s
        self._live = Live(matrix, console=console, auto_refresh=False, redirect_stdout=False)
        self._drawing, self._over = threading.Lock(), threading.Event()
        self._ticks = threading.Thread(target=self._tick, name="live view", daemon=True)

    def __enter__(self) -> LiveView:
        self._live.start(refresh=True)  # the line that is written over stands then
        self._ticks.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._ticks.join()
        self._live.stop()

    def observe(self, event: Event) -> None:
        """Something happened: the matrix is drawn anew."""
        with self._drawing:
            self._matrix.observe(event)
            self._live.refresh()

    def watch(self, trial: Trial, folder: Path) -> None:
        """A trial runs, and tells in this folder how far it is."""
        with self._drawing:
            self._matrix.watch(trial, folder)

    def _tick(self) -> None:
        while not self._over.wait(self._tick_s):
            with self._drawing:
                line = self._matrix.line(self._console.width - 1)
                self._console.file.write(f"{OVER}{DIM}{line}{PLAIN}")
                self._console.file.flush()
