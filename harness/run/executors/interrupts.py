"""Ctrl-C and SIGTERM held back while processes are started and cleared away, so that none is left behind.

Blocking the signal for a thread is not enough: the kernel gives it to another one (numerical libraries start some), and
Python still raises KeyboardInterrupt in the main thread.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class HeldBack:
    """Within this context a signal to stop is remembered; `let_through` is where it may interrupt.

    One that is remembered at the end is raised then. Does nothing outside the main thread, which gets no signals.
    """

    def __enter__(self) -> HeldBack:
        self._arrived: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in STOPPING}
        return self

    def __exit__(self, *_error: object) -> None:
        self._restore()
        if self._arrived:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Here KeyboardInterrupt may be raised, at once if a signal has already arrived."""
        self._restore()
        try:
            if self._arrived:
                self._arrived.clear()
                raise KeyboardInterrupt
            yield
        finally:
            for number in self._before:
                signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: object) -> None:
        self._arrived.append(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM (a CI job cancelled, a batch system's time limit) ends a run as orderly as Ctrl-C does."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
