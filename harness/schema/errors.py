"""Errors that a person sees: one clear line each, and an exit code.

HarnessError            exit 2: the harness cannot do what was asked
├── InputError          what was asked is wrong; carries every problem found, not only the first
│   └── UnknownName     a name that no registry knows; carries the nearest valid one
└── StoreError          the results folder cannot be read or written
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class HarnessError(Exception):
    """The harness cannot do what was asked; `str()` is the whole message for a person."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in an input, said so that a person can mend it.

    where: "suite.toml:12" or "--devices"; key: dotted path, may be empty; found: the value as written;
    expected: what would be right; nearest: the valid name closest to what was found.
    """

    where: str
    key: str
    found: object
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        found = f"found {clip(self.found)}, " if self.found is not None else ""
        hint = f" (did you mean {self.nearest!r}?)" if self.nearest else ""
        return f"{self.where}: {key}{found}expected {self.expected}{hint}"


class InputError(HarnessError):
    """What was asked is wrong. Raised once with all problems, before anything starts."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownName(InputError):
    """A name that no registry knows."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "", key: str = ""):
        known = sorted(known)
        expected = f"one of {', '.join(known)}" if known else f"a registered {kind}"
        super().__init__([Problem(where or kind, key, name, expected, nearest(name, known))])


class StoreError(HarnessError):
    """The results folder cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to `name`, or None where none is close."""
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def clip(value: object, length: int = 120) -> str:
    """`repr` of a value, cut in the middle where it is long, so that a message stays one line."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 20]}…{text[-19:]}"
