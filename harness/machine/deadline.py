"""Calls into foreign libraries that may fail or never come back: asked in a thread of their own, with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Unread(Exception):
    """A reading that cannot be had here; the message is the reason to show."""


class BoundedCalls:
    """One thread in which all calls are made, one after another. ctypes gives up the interpreter's lock meanwhile.

    A call that does not come back in time keeps its thread, which dies with the process (it is a daemon); from then on
    every question is answered at once with the same reason, so that a hanging driver costs one deadline, not one per
    reading. Left out: a library that crashes the process, or a call that the kernel cannot interrupt at exit.
    """

    def __init__(self, deadline_s: float):
        self.deadline_s = deadline_s
        self.stuck: str | None = None
        """why nothing is asked any more"""
        self._asked: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[tuple[Any, str | None]]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, name: str, question: Callable[[], Answer], deadline_s: float | None = None) -> Answer:
        """The answer. Raises Unread where the call fails or is not back after `deadline_s` seconds."""
        if self.stuck is not None:
            raise Unread(self.stuck)
        if self._thread is None:
            self._thread = threading.Thread(target=self._answer, name="bounded calls", daemon=True)
            self._thread.start()
        box: SimpleQueue[tuple[Answer, str | None]] = SimpleQueue()
        seconds = self.deadline_s if deadline_s is None else deadline_s
        self._asked.put((question, box))
        try:
            answer, wrong = box.get(timeout=seconds)
        except Empty:
            self.stuck = f"{name}: no answer within {seconds:g} s"
            raise Unread(self.stuck) from None
        if wrong is not None:
            raise Unread(f"{name}: {wrong}")
        return answer

    def _answer(self) -> None:
        while True:
            question, box = self._asked.get()
            try:
                box.put((question(), None))
            except Exception as error:
                # Put into words here: asking a library what its error means is a call into it as well.
                box.put((None, str(error) or type(error).__name__))
