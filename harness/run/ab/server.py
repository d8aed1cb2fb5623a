"""The server of one version, seen from here: a process that forks ranks on request (see measure/turns_server)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.measure.turns_server import PROTOCOL
from harness.run.ab.specs import Version
from harness.schema.errors import HarnessError

MODULE = "harness.measure.turns_server"
START_TIMEOUT_S = 300.0
REAP_TIMEOUT_S = 60.0


@dataclass
class Server:
    """Starts with the context, is ready after `greet`, gone after the context. greeting: what it says of itself."""

    version: Version
    log: Path
    greeting: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Server:
        # One seed of hashes for all versions: the order of sets is no difference between them.
        environment = {**os.environ, "PYTHONPATH": self.version.path, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
        try:
            with open(self.log, "wb") as errors:
                self._process = subprocess.Popen(
                    [self.version.python, "-m", MODULE, str(os.getpid())],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise HarnessError(f"{self.version.spec}: {self.version.python} cannot be started: {error}") from error
        self._rest = b""
        return self

    def greet(self) -> None:
        """Wait until it has imported all that it needs. Raises HarnessError where it cannot serve."""
        self.greeting = self._answer(START_TIMEOUT_S)
        if (spoken := self.greeting.get("protocol")) != PROTOCOL:
            raise HarnessError(f"{self.version.spec} takes turns by protocol {spoken}, this harness by {PROTOCOL}")

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self, orders: Sequence[dict[str, Any]]) -> list[int]:
        """Fork a rank for each order; returns their process ids."""
        found: list[int] = self._asked({"start": list(orders)}, START_TIMEOUT_S)["pids"]
        return found

    def reap(self, pids: Sequence[int]) -> list[int]:
        """Exit codes, −n for signal n. Waits until these ranks have ended."""
        found: list[int] = self._asked({"reap": list(pids)}, REAP_TIMEOUT_S)["codes"]
        return found

    def _asked(self, request: dict[str, Any], within_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None
        return self._answer(within_s)

    def _answer(self, within_s: float) -> dict[str, Any]:
        """The next line. Raises HarnessError where none comes."""
        assert self._process.stdout is not None
        descriptor, until = self._process.stdout.fileno(), time.monotonic() + within_s
        while b"\n" not in self._rest:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                raise HarnessError(f"{self.version.spec}: its server did not answer within {within_s:g} s")
            read = os.read(descriptor, 1 << 16)
            if not read:
                raise self._gone()
            self._rest += read
        line, _newline, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _gone(self) -> HarnessError:
        """Why the server ended, as far as its last words tell."""
        self._process.wait()
        said = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        if f"No module named {MODULE}" in said[0]:
            return HarnessError(
                f"{self.version.spec} is older than `harness ab`: it has no {MODULE}. Compare it by stored runs "
                "(`harness compare`)"
            )
        return HarnessError(f"{self.version.spec}: its server ended with code {self._process.returncode}: {said[0]}")

    def _end(self) -> None:
        """Its ranks end with it (Linux), or have ended before."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
