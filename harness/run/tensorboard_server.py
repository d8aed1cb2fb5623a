"""TensorBoard on a folder, on this machine's loopback address alone, until the person ends it: nothing of it stays.

It runs in a session of its own, so that Ctrl-C reaches this process first, which then ends it with all its children
(torch-tb-profiler starts one per trace) and removes what it put into its temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.schema.errors import HarnessError, InputError, Problem

HOST = "127.0.0.1"
NEEDED = ("tensorboard", "torch_tb_profiler")
URL = re.compile(r"http://127\.0\.0\.1:\d+/")
FAILED = "Failed to load plugin"
START_TIMEOUT_S = 120.0
END_GRACE_S = 5.0
LOOK_EVERY_S = 0.1
SOCKET_FOLDER_LENGTH = 50
"""The plugin's processes meet at sockets in the temporary folder, whose whole path Linux limits to 107 bytes."""


@dataclass(frozen=True)
class TensorBoard:
    """A TensorBoard that is being served at `url`."""

    process: subprocess.Popen[bytes]
    url: str

    def wait(self) -> int:
        """Block until it ends; its exit code."""
        return self.process.wait()


@contextmanager
def serving(folder: Path, port: int) -> Iterator[TensorBoard]:
    """TensorBoard on a folder while the context lasts. port: 0 takes any free one.

    Raises HarnessError where it does not start, InputError where the port is taken.
    """
    where = ["--logdir", str(folder.resolve()), "--host", HOST, "--port", str(port)]
    options = [*where, "--load_fast", "false"]  # without its data server, a process more
    with tempfile.TemporaryDirectory(prefix="dynamometer-", dir=_short(), ignore_cleanup_errors=True) as scratch:
        log = Path(scratch) / "log.txt"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tensorboard.main", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "TMPDIR": scratch},
            )
        try:
            yield TensorBoard(process, _address(process, log, port))
        finally:
            _end(process)


def _short() -> str | None:
    """Where the temporary folder is made: as usual, but in /tmp where that would be too long a path for a socket."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > SOCKET_FOLDER_LENGTH else None


def _address(process: subprocess.Popen[bytes], log: Path, port: int) -> str:
    """The URL that it prints once it listens."""
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        text = log.read_text(errors="replace")
        if found := URL.search(text):
            if FAILED in text:
                raise HarnessError(f"TensorBoard could not load torch-tb-profiler: {_reason(text)}")
            return found[0]
        if process.poll() is not None:
            raise _refused(text, port)
        time.sleep(LOOK_EVERY_S)
    raise HarnessError(f"TensorBoard did not listen within {START_TIMEOUT_S:g} s: {_last_line(log.read_text())}")


def _refused(text: str, port: int) -> HarnessError:
    if "already in use" in text or "in use by another" in text:
        return InputError([Problem("--port", "", port, "a port that is free here; 0 takes any")])
    return HarnessError(f"TensorBoard did not start: {_last_line(text)}")


def _reason(text: str) -> str:
    """The first error of a traceback in the log, else the last line."""
    found = re.search(r"^\w*Error: .+$", text, re.MULTILINE)
    return found[0][:400] if found else _last_line(text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and its children: asked to first, so that it clears up itself."""
    for number, grace in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):  # the group outlives its leader where children do
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
