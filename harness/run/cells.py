"""Cells of a suite: (cases × grid − exclude) + include, each laid over `fixed`, defaults filled in. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.recipes.optimizers import registry as optimizers
from harness.recipes.schedules import registry as schedules
from harness.schema.errors import InputError, Problem, nearest
from harness.schema.registry import Registry
from harness.schema.suite import AXES, Choice, Device, Recipe, Settings, Suite
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from harness.strategies.techniques import techniques
from harness.workloads import registry as workloads

STEPS = 30
"""Timed steps where the suite does not say."""

REGISTRIES: dict[str, Registry[Any]] = {
    "workload": workloads,
    "strategy": strategies,
    "precision": precisions,
    "techniques": techniques,
    "optimizer": optimizers,
    "schedule": schedules,
}
"""Where the names of a suite are looked up, by key."""


class Cell(Settings):
    """A point of the grid, complete. Only `warmup_steps` and `eval_every` may be open: found, and once at the end."""

    workload: Choice
    size: str
    strategy: Choice
    precision: Choice
    techniques: tuple[Choice, ...]
    recipe: Recipe
    global_batch: int
    micro_batch: int
    steps: int
    devices: int | Literal["auto"]
    device: Device


def cells_of(suite: Suite) -> list[Cell]:
    """All cells, complete and each once. Raises UnknownName, or InputError where a cell has no workload."""
    return list(dict.fromkeys(fill(cell) for cell in given_cells(suite)))


def given_cells(suite: Suite) -> list[Settings]:
    """The cells as far as the suite gives them, `exclude` applied.

    With neither cases nor a grid the one cell is `fixed`; where there are only includes, they are all there is.
    """
    axes = {key: values for key, values in suite.grid if values is not None}
    cells = []
    if axes or suite.case or not suite.include:
        for case in suite.case or [Settings()]:
            base = over(suite.fixed, case)
            for values in itertools.product(*axes.values()):
                cells.append(base.model_copy(update=dict(zip(axes, values, strict=True))))
    if suite.exclude:
        cells = [cell for cell in cells if not any(matches(fill(cell), pattern) for pattern in suite.exclude)]
    return cells + [over(suite.fixed, cell) for cell in suite.include]


def over(below: Settings, above: Settings) -> Settings:
    """`above` laid over `below`: its keys win; a recipe is laid over key by key."""
    update = {key: value for key, value in above if value is not None}
    if above.recipe is not None and below.recipe is not None:
        update["recipe"] = above.recipe.over(below.recipe)
    return below.model_copy(update=update)


def fill(cell: Settings) -> Cell:
    """The cell with its defaults (size, batches and recipe are the workload's own); options equal to theirs go."""
    if cell.workload is None:
        raise InputError([Problem("suite", "workload", None, f"one of {', '.join(workloads.names())}")])
    facts = workloads[cell.workload.name].facts
    return Cell(
        workload=canonical(workloads, cell.workload),
        size=cell.size or next(iter(facts.sizes)),
        strategy=canonical(strategies, cell.strategy or Choice(name="single")),
        precision=canonical(precisions, cell.precision or Choice(name="fp32")),
        techniques=tuple(canonical(techniques, technique) for technique in cell.techniques or ()),
        recipe=_canonical_recipe((cell.recipe or Recipe()).over(facts.recipe)),
        global_batch=cell.global_batch or facts.global_batch,
        micro_batch=cell.micro_batch or facts.micro_batch,
        steps=cell.steps or STEPS,
        warmup_steps=cell.warmup_steps,
        eval_every=cell.eval_every,
        devices=cell.devices or "auto",
        device=cell.device or "auto",
    )


def canonical(registry: Registry[Any], choice: Choice) -> Choice:
    """The choice without options that equal their default: the same thing asked for in one way."""
    options = registry[choice.name].options
    kept = {k: v for k, v in choice.options.items() if k not in options or not _same(options[k].default, v)}
    return Choice(name=choice.name, options=kept)


def _same(default: object, value: object) -> bool:
    return default == value and isinstance(default, bool) == isinstance(value, bool)


def _canonical_recipe(recipe: Recipe) -> Recipe:
    update = {}
    if recipe.optimizer is not None:
        update["optimizer"] = canonical(optimizers, recipe.optimizer)
    if recipe.schedule is not None:
        update["schedule"] = canonical(schedules, recipe.schedule)
    return recipe.model_copy(update=update)


def matches(cell: Cell, pattern: Settings) -> bool:
    """Whether a complete cell has every value that the pattern gives; of a recipe, every key that it gives."""
    for key, asked in pattern:
        found = getattr(cell, key)
        if asked is None:
            continue
        if isinstance(asked, Recipe):
            recipe = _canonical_recipe(asked)
            if any(value is not None and getattr(found, name) != value for name, value in recipe):
                return False
        elif found != _canonical_value(key, asked):
            return False
    return True


def _canonical_value(key: str, value: Any) -> Any:
    if key == "techniques":
        return tuple(canonical(techniques, technique) for technique in value)
    return canonical(REGISTRIES[key], value) if isinstance(value, Choice) else value


def spread(cell: Cell, count: int) -> int:
    """Devices over which one micro-step of the cell is spread: all, or the one that a one-process strategy uses."""
    facts = strategies[cell.strategy.name].facts
    return count if facts.processes == "per_device" or facts.splits_micro_batch else 1


def obstacle(cell: Cell, count: int) -> str | None:
    """Why a complete cell cannot run on so many devices, by its own numbers; None: it can."""
    least = strategies[cell.strategy.name].facts.min_devices
    if count < least:
        return f"{cell.strategy.name} needs at least {least} devices, there {'is' if count == 1 else 'are'} {count}"
    ranks = spread(cell, count)
    if cell.global_batch % (cell.micro_batch * ranks):
        times = f" × {ranks} devices" if ranks > 1 else ""
        return f"micro_batch {cell.micro_batch}{times} does not divide global_batch {cell.global_batch}"
    return None


@dataclass(frozen=True)
class Keys:
    """Which keys set cells apart. group: cells are compared only where these are equal; compared: of the baseline."""

    group: tuple[str, ...]
    compared: tuple[str, ...]
    baseline: Settings


def keys_of(suite: Suite) -> Keys:
    """Keys by which cells are grouped and compared, and the baseline's values.

    compared: the keys of `baseline`; without one the grid's axes, or else all that vary, and the first cell is the
    baseline. group: every other key that varies and that the suite gives somewhere.
    """
    given, cells = given_cells(suite), cells_of(suite)
    stated = [key for key in AXES if any(getattr(cell, key) is not None for cell in given)]
    varying = [key for key in stated if len({getattr(cell, key) for cell in cells}) > 1]
    compared = _stated(suite.baseline) or _stated(suite.grid) or varying
    baseline = suite.baseline
    if not _stated(suite.baseline) and cells:
        baseline = Settings().model_copy(update={key: getattr(cells[0], key) for key in compared})
    return Keys(tuple(key for key in varying if key not in compared), tuple(compared), baseline)


def _stated(settings: Iterable[tuple[str, Any]]) -> list[str]:
    return [key for key, value in settings if value is not None]


# --where

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
