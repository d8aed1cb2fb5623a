"""Checks of a suite beyond its schema: names and options against the registries, and numbers against one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from harness.machine.packages import missing, pip_install
from harness.run.cells import (
    REGISTRIES,
    Cell,
    Sources,
    cells_of,
    fill,
    keys_of,
    least_micro_batch,
    matches,
    obstacle,
    sourced_cells,
)
from harness.run.locate import Path, dotted, line_at
from harness.run.powers import POWERS, assumed
from harness.run.recipe_checks import recipe_problems
from harness.schema.errors import Problem, UnknownName, nearest
from harness.schema.suite import Choice, Recipe, Suite
from harness.workloads import registry as workloads

TABLES = ("fixed", "baseline", "case", "exclude", "include")


@dataclass(frozen=True)
class Reading:
    """Where a suite was read from, so that problems can name file and line. Without lines only the file is named."""

    file: str
    lines: dict[Path, int] | None = None

    def where(self, path: Path) -> str:
        """`suite.toml:12` for a path in the suite."""
        return f"{self.file}:{line_at(self.lines, path)}" if self.lines is not None else self.file


# Names and options, checked on the raw data so that they are found even where the schema refuses something else


def check_names(data: dict[str, Any], reading: Reading) -> list[Problem]:
    """Every name that no registry knows and every option that does not exist or fit."""
    problems: list[Problem] = []
    for path, key, value in _values(data):
        for place, kind, choice in _choices(path, key, value):
            problems += _check_choice(place, kind, choice, reading)
    return [*problems, *_sizes_of_no_workload(data, reading)]


def _sizes_of_no_workload(data: dict[str, Any], reading: Reading) -> Iterator[Problem]:
    """Sizes that no workload of the suite has; whether its own workload has them is seen when cells are made."""
    named = [
        value.get("name") if isinstance(value, dict) else value for _, key, value in _values(data) if key == "workload"
    ]
    facts = [workloads[name].facts for name in workloads.names() if name in named]
    known = list(dict.fromkeys(size for each in facts for size in each.sizes))
    for path, key, size in _values(data):
        if key == "size" and isinstance(size, str) and known and size not in known:
            yield Problem(reading.where(path), dotted(path), size, f"one of {', '.join(known)}", nearest(size, known))


def _values(data: dict[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Path, key and value of everything that a cell can take from the suite."""
    for table in TABLES:
        content = data.get(table)
        if isinstance(content, dict):
            yield from (((table, key), key, value) for key, value in content.items())
        for number, item in enumerate(content if isinstance(content, list) else []):
            if isinstance(item, dict):
                yield from (((table, number, key), key, value) for key, value in item.items())
    grid = data.get("grid")
    for key, values in (grid if isinstance(grid, dict) else {}).items():
        lists: list[tuple[Path, str, Any]] = [(("grid", key), key, values)]
        if isinstance(values, dict):
            lists = [(("grid", key, part), part, values[part]) for part in values]
        for path, name, found in lists:
            for number, value in enumerate(found if isinstance(found, list) else []):
                yield (*path, number), name, value


def _choices(path: Path, key: str, value: Any) -> Iterator[tuple[Path, str, Any]]:
    """The registered names in a value: path, kind, as written."""
    if key in ("techniques", "regularizers") and isinstance(value, list):
        yield from (((*path, number), key, item) for number, item in enumerate(value))
    elif key == "recipe" and isinstance(value, dict):
        for part in ("optimizer", "schedule", "regularizers"):
            if part in value:
                yield from _choices((*path, part), part, value[part])
    elif key in REGISTRIES:
        yield path, key, value


def _check_choice(path: Path, kind: str, value: Any, reading: Reading) -> Iterator[Problem]:
    try:
        choice = Choice.model_validate(value)
        entry = REGISTRIES[kind][choice.name]
    except ValidationError:
        return  # the schema says so already
    except UnknownName as error:
        place = (*path, "name") if isinstance(value, dict) else path
        yield from (replace(problem, where=reading.where(place), key=dotted(place)) for problem in error.problems)
        return
    for problem in entry.check(choice.options, "", dotted(path)):
        option = problem.key.rpartition(".")[2]
        yield replace(problem, where=reading.where((*path, option)))


# What does not fit together


def check_combinations(suite: Suite, reading: Reading) -> list[Problem]:
    """Everything in a suite of valid names that contradicts something else in it, or can never run."""
    problems = [*_axes(suite, reading), *_powers(suite, reading)]
    suite = assumed(suite)
    problems += [*_workloads(suite, reading), *_two_batches(suite, reading)]
    if problems:
        return problems
    problems += [*_sizes(suite, reading), *_packages(suite, reading)]
    problems += [
        Problem(reading.where(path), dotted(path), found, expected) for path, found, expected in recipe_problems(suite)
    ]
    return [*problems, *_patterns(suite, reading), *never_possible(suite, reading)]


def _axes(suite: Suite, reading: Reading) -> Iterator[Problem]:
    for key, values in suite.grid.axes.items():
        path = ("grid", key)
        if not values:
            yield Problem(reading.where(path), dotted(path), values, "at least one value")
        if _both(values, getattr(suite.fixed, key)):
            other = f"fixed.{key} at {reading.where(('fixed', key))}"
            yield Problem(reading.where(path), dotted(path), None, f"either this or {other}, not both")
        for number, case in enumerate(suite.case):
            if _both(values, getattr(case, key)):
                place = ("case", number, key)
                other = f"{dotted(path)} at {reading.where(path)}"
                yield Problem(reading.where(place), dotted(place), None, f"either this or {other}, not both")


def _both(values: Iterable[Any], other: Any) -> bool:
    """Whether a grid's values and another table give the same thing: of recipes, which are laid over, the same part."""
    if not isinstance(other, Recipe):
        return other is not None
    given = {part for part, value in other if value is not None}
    return any(part in given for recipe in values for part, value in recipe if value is not None)


def _powers(suite: Suite, reading: Reading) -> Iterator[Problem]:
    """Kinds of devices by cell, where the devices of one kind are to be counted."""
    tables: list[tuple[Path, Any]] = [(("grid", "device"), suite.grid.device)]
    tables += [(("case", number, "device"), case.device) for number, case in enumerate(suite.case)]
    for path, device in tables if suite.grid.devices == POWERS else ():
        if device is not None:
            expected = f'to stand in [fixed]: grid.devices = "{POWERS}" counts the devices of one kind'
            yield Problem(reading.where(path), dotted(path), device, expected)


def _two_batches(suite: Suite, reading: Reading) -> Iterator[Problem]:
    """Cells whose batch is given both in all and per device."""
    for cell, sources in sourced_cells(suite.model_copy(update={"exclude": []})):
        if cell.global_batch is not None and cell.batch_per_device is not None:
            path, other = sources["batch_per_device"], sources["global_batch"]
            expected = f"either this or {dotted(other)} at {reading.where(other)}, not both"
            yield Problem(reading.where(path), dotted(path), cell.batch_per_device, expected)


def _workloads(suite: Suite, reading: Reading) -> Iterator[Problem]:
    """Cells without a workload: only `exclude` looks at whole cells, so it must not be asked before this."""
    for cell, sources in sourced_cells(suite.model_copy(update={"exclude": []})):
        if cell.workload is None:
            path = _table_of(sources)
            expected = f"one of {', '.join(workloads.names())}: every cell needs a workload"
            yield Problem(reading.where(path), dotted((*path, "workload")), None, expected)
            return


def _table_of(sources: Sources) -> Path:
    """The table a cell is written in: its include or case, else fixed."""
    for path in reversed(sources.values()):
        if path[0] in ("include", "case"):
            return path[:2]
    return ("fixed",)


def _sizes(suite: Suite, reading: Reading) -> Iterator[Problem]:
    for cell, sources in sourced_cells(suite):
        assert cell.workload is not None
        known = workloads[cell.workload.name].facts.sizes
        if cell.size is not None and cell.size not in known:
            path = sources["size"]
            expected = f"a size of {cell.workload.name}: {', '.join(known)}"
            yield Problem(reading.where(path), dotted(path), cell.size, expected, nearest(cell.size, known))


def _packages(suite: Suite, reading: Reading) -> Iterator[Problem]:
    """Packages that a workload needs at a size and that are not installed. What a strategy lacks makes its cells
    UNSUPPORTED.
    """
    for cell, sources in sourced_cells(suite):
        complete = fill(cell)
        name, facts = complete.workload.name, workloads[complete.workload.name].facts
        everywhere, here = missing(facts.requires), missing(facts.requires_for(complete.size))
        if here:
            key, found = ("workload", name) if everywhere else ("size", complete.size)
            path = sources.get(key, ("fixed", key))
            expected = f"the package{'s' * (len(here) > 1)} {' and '.join(here)} that it needs: {pip_install(here)}"
            yield Problem(reading.where(path), dotted(path), found, expected)


def _patterns(suite: Suite, reading: Reading) -> Iterator[Problem]:
    """A baseline or an exclusion that fits no cell."""
    cells = cells_of(suite)
    baseline = keys_of(suite).baseline
    if not any(matches(cell, baseline) for cell in cells):
        found = suite.baseline.model_dump(mode="json", exclude_none=True)
        yield Problem(reading.where(("baseline",)), "baseline", found, "values that at least one cell has")
    everything = cells_of(suite.model_copy(update={"exclude": []}))
    for number, pattern in enumerate(suite.exclude):
        if not any(matches(cell, pattern) for cell in everything):
            path: Path = ("exclude", number)
            found = pattern.model_dump(mode="json", exclude_none=True)
            yield Problem(reading.where(path), dotted(path), found, "values that at least one cell has")


def never_possible(suite: Suite, reading: Reading) -> list[Problem]:
    """Strategies none of whose cells can run, by the suite's own numbers. `devices = "auto"` is left to the plan."""
    tried: dict[str, list[Problem | None]] = {}
    for cell, sources in sourced_cells(suite):
        complete = fill(cell)
        problem = _obstacle(complete, sources, reading)
        tried.setdefault(complete.strategy.label, []).append(problem)
    hopeless = [problems for problems in tried.values() if None not in problems]
    return list(dict.fromkeys(problem for problems in hopeless for problem in problems if problem))


def _obstacle(cell: Cell, sources: Sources, reading: Reading) -> Problem | None:
    reason = _indivisible(cell) if cell.devices == "auto" else obstacle(cell, cell.devices)
    if reason is None:
        return None
    key = next((key for key in _suspects(reason) if key in sources), "strategy")
    path = sources.get(key, ("fixed", key))
    found = cell.strategy.label if key == "strategy" else getattr(cell, key)
    return Problem(reading.where(path), dotted(path), found, f"a combination that can run: {reason}")


def _indivisible(cell: Cell) -> str | None:
    if cell.batch_per_device is not None or cell.global_batch % least_micro_batch(cell) == 0:
        return None
    return f"micro_batch {cell.micro_batch} does not divide global_batch {cell.global_batch}"


def _suspects(reason: str) -> Iterable[str]:
    """Keys to point at, the likeliest first."""
    return (
        ("micro_batch", "batch_per_device", "devices", "global_batch")
        if "divide" in reason
        else ("devices", "strategy")
    )
