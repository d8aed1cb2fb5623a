"""SVG path data in few bytes: relative, to a tenth of a pixel, without what the grammar lets one leave out.

Source: https://www.w3.org/TR/SVG2/paths.html#PathDataBNF
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")
STRAIGHT = frozenset("MLHVZmlhvz")
TENTH = 10


def compact(data: str, x: float = 0.0, y: float = 0.0) -> str | None:
    """The same straight lines, moved by x and y; None where there are curves among them, which stay as they are.

    Points are rounded before they become differences, so that errors do not add up along a path.
    """
    steps = list(_steps(data))
    if not steps or any(command not in STRAIGHT for command, _numbers in steps):
        return None
    pen = _Pen(x, y)
    for command, numbers in steps:
        pen.follow(command, numbers)
    return pen.text


def _steps(data: str) -> Iterator[tuple[str, list[float]]]:
    """Commands with their numbers; a command with several points comes once."""
    command: str = ""
    numbers: list[float] = []
    for token in TOKEN.findall(data):
        if token.isalpha():
            if command:
                yield command, numbers
            command, numbers = token, []
        else:
            numbers.append(float(token))
    if command:
        yield command, numbers


class _Pen:
    """Where drawing is, exactly and as it was written (in tenths), and what was written."""

    def __init__(self, x: float, y: float):
        self.text = ""
        self._moved = (x, y)
        self._at = self._start = (x, y)
        self._written = self._written_start = (0, 0)
        self._last = ""

    def follow(self, command: str, numbers: list[float]) -> None:
        """Take a command."""
        if command in "Zz":
            self._write("z")
            self._at, self._written = self._start, self._written_start
        elif command in "HhVv":
            for number in numbers:
                self._straight(command, number)
        else:
            for x, y in zip(numbers[::2], numbers[1::2], strict=True):
                self._to(command, x, y)

    def _straight(self, command: str, number: float) -> None:
        across, relative = command in "Hh", command.islower()
        axis = 0 if across else 1
        to = number + (self._at[axis] if relative else self._moved[axis])
        self._at = (to, self._at[1]) if across else (self._at[0], to)
        now, before = round(to * TENTH), self._written[axis]
        self._written = (now, self._written[1]) if across else (self._written[0], now)
        self._write(command.lower(), now - before)

    def _to(self, command: str, x: float, y: float) -> None:
        base = self._at if command.islower() else self._moved
        self._at = (base[0] + x, base[1] + y)
        now = (round(self._at[0] * TENTH), round(self._at[1] * TENTH))
        moved = (now[0] - self._written[0], now[1] - self._written[1])
        self._written = now
        if command in "Mm":
            self._start, self._written_start = self._at, now
            self._write("m", *moved)
            self._last = "l"  # pairs after a move are lines
        elif moved != (0, 0):
            self._write("l", *moved)

    def _write(self, command: str, *tenths: int) -> None:
        if command != self._last or command in "mz":
            self.text += command
        for tenth in tenths:
            text = short(tenth / TENTH)
            apart = self.text[-1:].isdigit() and (text[0].isdigit() or (text[0] == "." and "." not in _tail(self.text)))
            self.text += (" " if apart else "") + text
        self._last = command


def _tail(text: str) -> str:
    """The number that a text ends with."""
    return re.split(r"[A-Za-z \-]", text[-12:])[-1]


def short(number: float) -> str:
    """To a tenth, without a zero that says nothing: `.5`, `-3`, `12.4`, `0`."""
    text = f"{number:.1f}".removesuffix(".0").replace("0.", ".", 1) if abs(number) < 1 else f"{number:.1f}"
    text = text.removesuffix(".0")
    return "0" if text in ("-0", "", "-", ".0", "-.0") else text
