"""A file of measured rounds, JSON lines (see `schema/measured`), from any source: read, or refused line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness.run.series_file import other_version
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured
from harness.schema.record import SCHEMA_OLDEST, SCHEMA_VERSION

EXPECTED = "a run folder, a file of measured rounds (JSON lines), or a file of pytest-benchmark"


def read_file(path: Path) -> list[Measured]:
    """The rounds of a file of JSON lines. Raises InputError with every line that is none."""
    return of_lines(path, text_of(path))


def text_of(path: Path) -> str:
    """The text of a file. Raises InputError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError([Problem(str(path), "", None, f"{EXPECTED} ({why})")]) from error


def whole_json(text: str) -> object:
    """The text as one JSON value; None where it is none, or several lines of JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def of_lines(path: Path, text: str) -> list[Measured]:
    """The rounds of the text of a file. Raises InputError with every line that is none."""
    found: list[Measured] = []
    problems: list[Problem] = []
    others: set[int] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = _parsed(line)
            version = content.get("schema") if isinstance(content, dict) else None
            if isinstance(version, int) and other_version(version):
                others.add(version)  # its keys may be others: that it is another version says it all
                continue
            found.append(Measured.model_validate(content))
        except ValueError as error:
            problems += _problems(f"{path}:{number}", error)
    if not found and not others and len(problems) > 1 and whole_json(first := text.lstrip().partition("\n")[0]) is None:
        raise InputError([Problem(str(path), "", first, EXPECTED)])  # it is no JSON lines at all
    problems += [Problem(str(path), "schema", version, _expected(version)) for version in sorted(others)]
    if not found and not problems:
        problems.append(Problem(str(path), "", None, "at least one measured round"))
    if problems:
        raise InputError(problems)
    return found


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"a whole line of JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise ValueError("a line of JSON that is not nested a thousand times") from error


def _problems(where: str, error: ValueError) -> Iterator[Problem]:
    if not isinstance(error, ValidationError):
        yield Problem(where, "", None, str(error))
        return
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        if detail["type"] == "missing":
            yield Problem(where, key, None, "a value: it must be given")
        else:
            yield Problem(where, key, detail["input"], detail["msg"].removeprefix("Input should be "))


def _expected(version: int) -> str:
    if version > SCHEMA_VERSION:
        return f"{SCHEMA_VERSION} at most: update the harness"
    return f"{SCHEMA_OLDEST} at least: an older version wrote it, measure again"
