"""`python -m harness.measure.turns_server PARENT`: forks ranks that take turns for `harness ab`; one per version.

It speaks JSON lines: a greeting on stdout, then an answer to each request on stdin. It imports torch once and forks a
child for each rank, as Python's fork server does, but may be of another version of the harness, or of another Python,
than who asks: what stands here is all that both must agree on.

    {"start": [order, …]}  → {"pids": […]}     order: job (JSON text), address (a Unix socket that waits for the rank),
                                               padding_bytes
    {"reap": [pid, …]}     → {"codes": […]}    exit codes, −n for signal n; waits until all have ended

It ends when stdin does, or when its parent does.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
from typing import Any

from harness.measure.entry import die_with_parent

ADDR_NO_RANDOMIZE = 0x0040000
ASK_PERSONALITY = 0xFFFFFFFF
PROTOCOL = 1
"""Raised when requests, answers or turns change."""


def main(parent: int) -> None:
    """Serve until stdin ends."""
    _place_alike()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever imports print is no answer
    die_with_parent(parent)
    import torch

    import harness
    import harness.measure.preload

    greeting = {
        "protocol": PROTOCOL,
        "harness": harness.__version__,
        "package": os.path.dirname(harness.__file__),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    _answer(answers, greeting)
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            _answer(answers, {"pids": [_forked(order, answers) for order in asked["start"]]})
        else:
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in asked["reap"]]
            _answer(answers, {"codes": codes})


def _place_alike() -> None:
    """Start anew without random addresses (Linux): libraries lie at the same places in every server.

    Children keep their server's addresses, so that chance would hit all rounds of a version alike.
    Source: https://man7.org/linux/man-pages/man2/personality.2.html
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "personality"):
        return
    now = libc.personality(ASK_PERSONALITY)
    if now >= 0 and not now & ADDR_NO_RANDOMIZE and libc.personality(now | ADDR_NO_RANDOMIZE) >= 0:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _answer(descriptor: int, content: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(content).encode() + b"\n")


def _forked(order: dict[str, Any], answers: int) -> int:
    """Fork a rank; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(answers)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        die_with_parent(os.getppid())
        from harness.measure.turns import take_turns

        take_turns(str(order["job"]), str(order["address"]), int(order["padding_bytes"]))
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
