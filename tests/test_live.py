"""The live view in a pseudo-terminal and the plain lines in a pipe: nothing wraps, the cursor comes back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from harness.cli import terminal
from harness.run.plan import Plan

ROOT = Path(__file__).parent.parent
WIDTHS = (60, 100, 160)
TOKEN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\n]|[^\x1b\r\n]+")


class Screen:
    """As much of a terminal as shows what stands on it: lines, a cursor, how often text ran past the edge."""

    def __init__(self, width: int):
        self.width, self.lines, self.row, self.column = width, [""], 0, 0
        self.wraps, self.cursor_shown = 0, True

    def show(self, text: str) -> Screen:
        for token in TOKEN.findall(text):
            self._take(token)
        return self

    def _take(self, token: str) -> None:
        if token == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif token == "\r":
            self.column = 0
        elif token.startswith("\x1b"):
            self._obey(token)
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + token + line[self.column + len(token) :]
            self.column += cell_len(token)
            self.wraps += self.column > self.width

    def _obey(self, token: str) -> None:
        if token.endswith("A"):
            self.row = max(0, self.row - int(token[2:-1] or 1))
        elif token == "\x1b[2K":
            self.lines[self.row] = ""
        elif token in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor_shown = token.endswith("h")

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


class Terminal:
    """A command whose stderr is a terminal of this size. `read` to its end, or to where a text was seen."""

    def __init__(self, command: list[str], width: int, height: int = 24):
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        without = {key: value for key, value in os.environ.items() if key not in ("CI", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=side, text=True,
            env=without | {"TERM": "xterm", "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        os.close(side)
        self.shown = ""

    def read(self, until: str | None = None) -> str:
        end = time.monotonic() + 60
        while until is None or until not in self.shown:
            if not select.select([self.main], [], [], max(0.0, end - time.monotonic()))[0]:
                self.process.kill()
                raise AssertionError(f"{until!r} did not come: {self.shown[-500:]}")
            try:
                part = os.read(self.main, 65536)
            except OSError:
                break
            if not part:
                break
            self.shown += part.decode(errors="replace")
        return self.shown

    def end(self) -> tuple[int, str]:
        self.read()
        told, _nothing = self.process.communicate(timeout=60)
        os.close(self.main)
        return self.process.returncode, told


def played(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.played_run", *map(str, arguments)]


def test_on_a_terminal_nothing_wraps_and_the_line_moves_on() -> None:
    sessions = [Terminal(played(1.3, 2), width) for width in WIDTHS]
    for width, session in zip(WIDTHS, sessions, strict=True):
        code, _told = session.end()
        screen = Screen(width).show(session.shown)
        assert code == 0, session.shown
        assert screen.wraps == 0
        assert screen.cursor_shown
        assert "\x1b[?25l" in session.shown
        steps = re.findall(r"step (\d+) of 1000", session.shown)
        assert len(set(steps)) >= 2, "it was drawn anew between two events"
        if width != 100:  # there it depends on how many digits the figures have
            assert ("█" in session.shown) == (width == 160), "the curve stands where there is room"
        assert " left" in session.shown
        assert screen.text.count("●") == 2, screen.text
        assert len([line for line in screen.lines if line.strip()]) == 4, "a head, two cells, what happened last"


def test_a_matrix_that_is_higher_than_the_screen_keeps_its_last_line() -> None:
    session = Terminal(played(0, 20), 100, height=10)
    session.end()
    screen = Screen(100).show(session.shown)
    lines = [line for line in screen.lines if line.strip()]
    assert screen.wraps == 0
    assert len(lines) <= 10
    assert "cells more" in screen.text
    assert "20/20" in lines[-1]


def test_control_the_screen_sees_a_line_that_is_too_long() -> None:
    assert Screen(10).show("\x1b[1mtwelve chars\x1b[0m").wraps == 1
    assert Screen(10).show("ten chars.\r\x1b[2Knine char").text == "nine char"
    assert not Screen(10).show("\x1b[?25l").cursor_shown


def test_in_a_pipe_there_is_a_line_per_event_whatever_the_width_and_the_time() -> None:
    processes = [
        subprocess.Popen(
            played(0.7, 2), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"COLUMNS": str(width), "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )
        for width in WIDTHS
    ]  # fmt: skip
    for process in processes:
        _nothing, said = process.communicate(timeout=60)
        lines = said.splitlines()
        assert process.returncode == 0, said
        assert len(lines) == 4, said
        assert all(re.match(r"\[[12]/2\] (start|done) gpt/nano ddp", line) for line in lines)
        assert "\x1b" not in said


def test_no_clock_ticks_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, before = Plan(trials=[]), threading.active_count()
    monkeypatch.setattr(terminal, "animated", lambda: False)
    with terminal.watching(plan, {}) as told:
        assert told.watch is None, "trials are not even asked how far they are"
        assert threading.active_count() == before
    monkeypatch.setattr(terminal, "animated", lambda: True)
    with terminal.watching(plan, {}) as told:
        assert told.watch is not None
        assert threading.active_count() == before + 1, "control: the clock of a terminal"
    assert threading.active_count() == before


def test_ctrl_c_gives_the_cursor_back_and_stops_the_clock() -> None:
    session = Terminal(played(60, 2), 60)
    session.read(until="step ")
    os.kill(session.process.pid, signal.SIGINT)
    code, told = session.end()
    screen = Screen(60).show(session.shown)
    assert code == 130, session.shown[-500:]
    assert told == "interrupted\n"
    assert screen.cursor_shown
    assert screen.wraps == 0
