"""The command line's `--where KEY=VALUE`: which cells of a suite are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.run.cells import Cell
from harness.schema.errors import InputError, Problem, nearest
from harness.schema.suite import AXES, Choice, Recipe

Where = Sequence[tuple[str, str]]


def parse_where(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`["strategy=ddp"]` → `(("strategy", "ddp"),)`. Raises InputError with every filter that is wrong.

    Keys are those of a cell; `recipe.lr` and the like reach into a recipe.
    """
    known = [*AXES, *(f"recipe.{key}" for key in Recipe.model_fields)]
    problems, filters = [], []
    for text in texts:
        key, separator, value = text.partition("=")
        key = key.strip()
        if not separator:
            problems.append(Problem("--where", "", text, "KEY=VALUE, for example strategy=ddp"))
        elif key not in known:
            problems.append(Problem("--where", "", key, f"one of {', '.join(known)}", nearest(key, known)))
        else:
            filters.append((key, value.strip()))
    if problems:
        raise InputError(problems)
    return tuple(filters)


def filtered(cells: Sequence[Cell], where: Where) -> list[Cell]:
    """Cells that fit: of filters with the same key any, of different keys all.

    A registered name fits with any options; its label fits exactly. Raises InputError where a value fits no cell.
    """
    problems = []
    for key, value in where:
        values = sorted({text for cell in cells for text in _texts(cell, key)})
        if value not in values:
            problems.append(Problem("--where", key, value, f"one of {', '.join(values)}", nearest(value, values)))
    if problems:
        raise InputError(problems)
    wanted: dict[str, set[str]] = {}
    for key, value in where:
        wanted.setdefault(key, set()).add(value)
    kept = [cell for cell in cells if all(wanted[key] & set(_texts(cell, key)) for key in wanted)]
    if not kept:
        found = " ".join(f"{key}={value}" for key, value in where)
        raise InputError([Problem("--where", "", found, "a combination that at least one cell has")])
    return kept


def _texts(cell: Cell, key: str) -> list[str]:
    """The texts by which a filter may name the cell's value."""
    value: Any = cell
    for name in key.split("."):
        value = getattr(value, name)
    if isinstance(value, Choice):
        return [value.name, value.label]
    if isinstance(value, tuple):
        each = [text for choice in value for text in (choice.name, choice.label)]
        return [*each, "+".join(choice.label for choice in value) or "none"]
    if isinstance(value, Recipe):
        return [value.label]
    return [f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)]
