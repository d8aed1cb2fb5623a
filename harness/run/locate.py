"""Lines of the keys of a TOML text: Python's own reader gives values without positions.

The scanner runs after `tomllib` has accepted the text, so it need not check anything; it walks over table headers,
dotted and quoted keys, arrays over several lines and inline tables, and notes the line on which each key begins.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

BARE = re.compile(r"[A-Za-z0-9_-]+")
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
STRINGS = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
SCALAR = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """1-based line of every key and array element of a valid TOML text, by path: `("grid", "strategy", 2, "name")`."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_at(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the innermost enclosing key that is known."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def dotted(path: Path) -> str:
    """A path for people: `grid.strategy[2].reshard_after_forward`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def error_line(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Line and message of a syntax error, without the position in its words."""
    message = str(error)
    if found := re.search(r"\s*\(at line (\d+), column (\d+)\)$", message):
        return int(found[1]), message[: found.start()]
    at_end = " (at end of document)"
    return max(1, len(text.splitlines())), message.removesuffix(at_end) + (" at the end" if at_end in message else "")


@dataclass
class _Scanner:
    text: str
    position: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    tables: dict[Path, int] = field(default_factory=dict)
    """arrays of tables → tables so far"""

    def __post_init__(self) -> None:
        self.ends = [match.start() for match in re.finditer("\n", self.text)]

    def document(self) -> None:
        prefix: Path = ()
        self.blank()
        while self.position < len(self.text):
            if self.text[self.position] == "[":
                prefix = self.header()
            else:
                self.pair(prefix)
            self.blank()

    def header(self) -> Path:
        many = self.text.startswith("[[", self.position)
        start = self.position
        self.position += 2 if many else 1
        names = self.keys()
        self.position = self.text.index("]", self.position) + (2 if many else 1)
        path: Path = ()
        for name in names:
            path = (*path, name)
            is_last = len(path) - sum(isinstance(part, int) for part in path) == len(names)
            if path in self.tables and not (is_last and many):
                path = (*path, self.tables[path] - 1)
            self.note(path, start)
        if many:
            self.tables[path] = self.tables.get(path, 0) + 1
            path = (*path, self.tables[path] - 1)
            self.note(path, start)
        return path

    def pair(self, prefix: Path) -> None:
        start = self.position
        path = prefix
        for name in self.keys():
            path = (*path, name)
            self.note(path, start)
        self.position = self.text.index("=", self.position) + 1
        self.value(path)

    def keys(self) -> list[str]:
        names = []
        while True:
            self.blank()
            if match := STRINGS.match(self.text, self.position):
                names.append(tomllib.loads(f"key = {match[0]}")["key"])
            elif match := BARE.match(self.text, self.position):
                names.append(match[0])
            else:
                return names
            self.position = match.end()
            self.blank()
            if not self.text.startswith(".", self.position):
                return names
            self.position += 1

    def value(self, path: Path) -> None:
        self.blank()
        opening = self.text[self.position]
        if opening == "[":
            self.elements(path)
        elif opening == "{":
            self.position += 1
            self.blank()
            while self.text[self.position] != "}":
                self.pair(path)
                self.separator()
            self.position += 1
        elif match := STRINGS.match(self.text, self.position) or SCALAR.match(self.text, self.position):
            self.position = match.end()

    def elements(self, path: Path) -> None:
        self.position += 1
        self.blank()
        number = 0
        while self.text[self.position] != "]":
            self.note((*path, number), self.position)
            self.value((*path, number))
            self.separator()
            number += 1
        self.position += 1

    def separator(self) -> None:
        self.blank()
        if self.text[self.position] == ",":
            self.position += 1
            self.blank()

    def blank(self) -> None:
        match = BLANK.match(self.text, self.position)
        assert match is not None
        self.position = match.end()

    def note(self, path: Path, position: int) -> None:
        self.lines.setdefault(path, bisect.bisect_left(self.ends, position) + 1)
