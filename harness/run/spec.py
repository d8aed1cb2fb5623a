"""Reading a suite: every mistake with file, line, key, value found and what was expected; all of them at once.

A suite is valid when it fits the schema, every name is registered with options that exist, and its own numbers fit
together. What depends on the machine is the plan's business.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.run import locate
from harness.run.checks import Reading, check_combinations, check_names, never_possible
from harness.run.powers import POWERS
from harness.run.where import parse_where
from harness.schema.errors import InputError, Problem, nearest
from harness.schema.suite import Budget, Grid, Model, Recipe, Settings, Suite

__all__ = ["load_suite", "parse_where", "with_overrides"]

CHOICE_KEYS = ("workload", "strategy", "precision", "techniques", "optimizer", "schedule", "regularizers")
SETTINGS_TABLES = ("baseline", "fixed", "case", "exclude", "include")


def load_suite(path: Path) -> Suite:
    """Read and check a suite file. Raises InputError with every problem found in it."""
    text = _read(path)
    data, reading = _parsed(path, text)
    problems: list[Problem] = []
    suite: Suite | None = None
    try:
        suite = Suite.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        problems += _of_schema(error, data, reading)
    problems += check_names(data, reading)
    if suite is not None and not problems:
        problems += check_combinations(suite, reading)
    if problems or suite is None:
        raise InputError(sorted({str(problem): problem for problem in problems}.values(), key=_by_line))
    return suite


def with_overrides(
    suite: Suite, repeats: int | None = None, devices: int | None = None, *, refuse: bool = True
) -> Suite:
    """The suite with rounds and devices of the command line, which win wherever the suite gives devices.

    A suite with `devices = "powers"` keeps them: `powers.on_machine` ends them there.
    Raises InputError where a strategy of the suite can never run on so many devices, unless `refuse` is False.
    """
    if repeats is not None:
        suite = suite.model_copy(update={"budget": suite.budget.model_copy(update={"repeats": repeats})})
    if devices is None or suite.grid.devices == POWERS:
        return suite
    none = {"devices": None}
    suite = suite.model_copy(
        update={
            "fixed": suite.fixed.model_copy(update={"devices": devices}),
            "grid": suite.grid.model_copy(update=none),
            "baseline": suite.baseline.model_copy(update=none),
            "case": [case.model_copy(update=none) for case in suite.case],
            "include": [cell.model_copy(update=none) for cell in suite.include],
        }
    )
    if refuse and (problems := never_possible(suite, Reading("--devices"))):
        raise InputError(dict.fromkeys(Problem("--devices", "", devices, problem.expected) for problem in problems))
    return suite


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError([Problem(str(path), "", None, f"a suite file that can be read ({error.strerror})")]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found = data[error.start : error.start + 4]
        raise InputError([Problem(f"{path}:{line}", "", found, "text in UTF-8")]) from error


def _parsed(path: Path, text: str) -> tuple[dict[str, Any], Reading]:
    try:
        return tomllib.loads(text), Reading(str(path), locate.lines_of(text))
    except tomllib.TOMLDecodeError as error:
        line, message = locate.error_line(error, text)
        raise InputError([Problem(f"{path}:{line}", "", None, f"valid TOML ({message})")]) from error
    except RecursionError as error:
        raise InputError([Problem(str(path), "", None, "valid TOML (nested too deep)")]) from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError([Problem(str(path), "", None, f"valid TOML ({error})")]) from error


def _of_schema(error: ValidationError, data: dict[str, Any], reading: Reading) -> Iterable[Problem]:
    """What the schema refuses, one problem per place: branches of a union are said in one sentence."""
    places: dict[locate.Path, list[ErrorDetails]] = {}
    for detail in error.errors():
        places.setdefault(_place(detail, data), []).append(detail)
    for place, details in places.items():
        first = details[0]
        where, key = reading.where(place), locate.dotted(place)
        if first["type"] == "extra_forbidden":
            known = _keys_of(place[:-1])
            expected = f"one of {', '.join(known)}"
            yield Problem(where, key, first["input"], expected, nearest(str(place[-1]), known))
        elif first["type"] == "missing":
            yield Problem(where, key, None, "a value: it must be given")
        else:
            found = None if first["input"] is None else first["input"]
            yield Problem(where, key, found, _expected(place, details), _nearest_literal(details))


def _place(detail: ErrorDetails, data: Any) -> locate.Path:
    """The error's place as far as it is in the file: without names of union branches and of the schema's own fields."""
    place: locate.Path = ()
    for part in detail["loc"]:
        present = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if present:
            data = data[part]
            place = (*place, part)
        elif part == "name" or (detail["type"] == "missing" and isinstance(part, str)):
            place = (*place, part)
    return place


def _expected(place: locate.Path, details: Sequence[ErrorDetails]) -> str:
    if any(detail["type"] == "model_type" for detail in details):
        key = next((part for part in reversed(place) if isinstance(part, str)), "")
        return 'a name, or a table { name = "…", option = … }' if key in CHOICE_KEYS else "a table"
    if len(details) > 2 and details[0]["type"] == "bool_type":
        return "a number, a text, true, false or a list of these"
    if details[0]["type"] == "too_short":
        return f"at least {details[0]['ctx']['min_length']} item"
    messages = (detail["msg"].removeprefix("Input should be ") for detail in details)
    expected = " or ".join(dict.fromkeys(message.replace("valid array", "list") for message in messages))
    return f"{expected}; {POWERS!r} stands in [grid]" if details[0]["input"] == POWERS else expected


def _nearest_literal(details: Sequence[ErrorDetails]) -> str | None:
    for detail in details:
        if detail["type"] == "literal_error" and isinstance(detail["input"], str):
            return nearest(
                detail["input"], detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            )
    return None


def _keys_of(table: locate.Path) -> list[str]:
    """The keys that a table of this path may have."""
    names = [part for part in table if isinstance(part, str)]
    if not names:
        return list(Suite.model_fields)
    if names[-1] == "recipe":
        return list(Recipe.model_fields)
    known: dict[str, type[Model]] = {"grid": Grid, "budget": Budget, **dict.fromkeys(SETTINGS_TABLES, Settings)}
    return list(known[names[0]].model_fields) if names[0] in known else []


def _by_line(problem: Problem) -> tuple[int, str]:
    line = problem.where.rpartition(":")[2]
    return (int(line) if line.isdigit() else 0), problem.key
