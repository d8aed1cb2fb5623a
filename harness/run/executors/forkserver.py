"""A server process that has imported torch once and forks a child for each rank: a trial costs its own work only.

It is Python's `multiprocessing` fork server; ours is that the children do not import the parent's main module (for a
console script that would be the whole command line in every rank).
Source: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType
from typing import Any

PRELOAD = "harness.measure.preload"


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def start(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Fork a child from the server (started at the first call) that runs an importable function."""
    with _without_main():
        process = _context().Process(target=function, args=arguments)
        process.start()
    return process
