"""One arm of a round: the processes of one cell in one version, which step when they are told to and wait otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.run.ab.server import Server
from harness.run.executors import local
from harness.run.merge import merge
from harness.schema.record import RankResult, Record, StepSeries
from harness.schema.trial import Trial

MESSAGE_BYTES = 1 << 16


class Failed(Exception):
    """An arm that cannot go on; its record says why."""


class Arm:
    """Ranks of one cell, started with `begin`. Methods that ask them raise Failed where one is gone or too slow."""

    def __init__(self, server: Server, trial: Trial, cores: Sequence[int], padding_bytes: int):
        self.server, self.trial, self.ok = server, trial, True
        self._cores, self._padding_bytes = cores, padding_bytes
        self._ended: local.Ended = "exit"
        self._pids: list[int] = []
        self._ranks: dict[int, socket.socket] = {}
        self._killed: set[int] = set()
        self._started_at = time.time()
        self._folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
        self._waiting = socket.socket(socket.AF_UNIX)
        try:
            self._waiting.bind(str(self._folder / "turns"))
            self._waiting.listen(trial.processes)
        except OSError:
            self._clear()
            raise

    def begin(self) -> None:
        """Start the ranks and wait until all are built, checked and warmed up."""
        orders = [
            {"job": job.model_dump_json(), "address": str(self._folder / "turns"), "padding_bytes": self._padding_bytes}
            for job in local.jobs(self.trial, self._cores, self._folder)
        ]
        self._pids = self.server.start(orders)
        self._watched(self._meet)

    def _meet(self, until: float) -> list[dict[str, Any]]:
        for _pid in self._pids:
            self._waiting.settimeout(max(0.01, until - time.monotonic()))
            connection, _address = self._waiting.accept()
            self._ranks[int(_line(connection, until)["rank"])] = connection
            connection.sendall(b'{"begin": true}\n')
        return self._heard(until)

    def turn(self, steps: int) -> tuple[list[float], list[float]]:
        """Train so many steps; wall seconds of the slowest rank and CPU seconds of all, for each step."""
        told = self._watched(lambda until: self._tell({"steps": steps}, until))
        wall = [max(values) for values in zip(*(rank["step_s"] for rank in told), strict=True)]
        cpu = [sum(values) for values in zip(*(rank["cpu_s"] for rank in told), strict=True)]
        return wall, cpu

    def leave(self, wanted: Sequence[str]) -> None:
        """Let the ranks count the figures that are wanted, write their results and end."""
        self._watched(lambda until: self._tell({"leave": list(wanted)}, until, answered=False))

    def abandon(self) -> None:
        """End what runs and ask nothing: after Ctrl-C the server may be in the middle of an answer."""
        self._signal(signal.SIGKILL)
        self._clear()

    def end(self) -> tuple[Record, StepSeries]:
        """End what still runs; what the ranks left, as a record. The arm is gone after it."""
        try:
            codes = self._reaped()
            ranks = [self._left(rank, code) for rank, code in enumerate(codes)]
        finally:
            self._clear()
        return merge(
            self.trial, ranks, None, ended=self._ended, started_at=self._started_at, ended_at=time.time(),
            load=(os.getloadavg()[0], os.getloadavg()[0]), environment="",
        )  # fmt: skip

    def _reaped(self) -> list[int]:
        """End the ranks; their exit codes. Who has ended is there until it is reaped: no id can be another's."""
        if self._ended == "timeout":
            self._signal(signal.SIGUSR1)  # each writes its threads' stacks
            time.sleep(local.STACKS_GRACE_S)
        else:
            self._wait_for_ends(local.PEER_GRACE_S)
        if self._ended != "exit" or len(self._ranks) < len(self._pids) or self._open():
            self._killed = set(self._pids)
            self._signal(signal.SIGKILL)
        return self.server.reap(self._pids) if self._pids else []

    def _watched(self, act: Callable[[float], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        try:
            return act(time.monotonic() + self.trial.timeout_s)
        except TimeoutError:
            self.ok, self._ended = False, "timeout"
        except (OSError, ValueError):  # a rank is gone
            self.ok = False
        raise Failed

    def _tell(self, content: dict[str, Any], until: float, answered: bool = True) -> list[dict[str, Any]]:
        for connection in self._ranks.values():
            connection.sendall(json.dumps(content).encode() + b"\n")
        if answered:
            return self._heard(until)
        self._wait_for_ends(until - time.monotonic())
        if self._open():
            raise TimeoutError
        return []

    def _heard(self, until: float) -> list[dict[str, Any]]:
        """One line of each rank, in the order of the ranks. Raises ConnectionError as soon as one is gone."""
        lines: dict[int, dict[str, Any]] = {}
        by_socket = {connection: rank for rank, connection in self._ranks.items()}
        while len(lines) < len(self._ranks):
            silent = [connection for connection, rank in by_socket.items() if rank not in lines]
            ready, _, _ = select.select(silent, [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for connection in ready:
                lines[by_socket[connection]] = _line(connection, until)
        return [line for _rank, line in sorted(lines.items())]

    def _wait_for_ends(self, within_s: float) -> None:
        """Wait until the ranks have closed their ends, which they do by ending."""
        until = time.monotonic() + within_s
        for connection in self._ranks.values():
            with contextlib.suppress(OSError):
                connection.settimeout(max(0.01, until - time.monotonic()))
                while connection.recv(MESSAGE_BYTES):
                    pass

    def _open(self) -> bool:
        """Whether a rank still has its end open."""
        for connection in self._ranks.values():
            connection.settimeout(0.01)
            try:
                if connection.recv(1):
                    return True
            except TimeoutError:
                return True
            except OSError:
                continue
        return False

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _left(self, rank: int, code: int) -> RankResult:
        killed = code == -signal.SIGKILL and self._pids[rank] in self._killed
        return local.left_behind(self._folder, rank, code, killed)

    def _clear(self) -> None:
        for connection in (*self._ranks.values(), self._waiting):
            connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _line(connection: socket.socket, until: float) -> dict[str, Any]:
    """The next line. A rank sends one and waits: nothing comes after it."""
    text = b""
    while not text.endswith(b"\n"):
        connection.settimeout(max(0.01, until - time.monotonic()))
        read = connection.recv(MESSAGE_BYTES)
        if not read:
            raise ConnectionError
        text += read
    found: dict[str, Any] = json.loads(text)
    return found
