"""Cells of a suite: (cases × grid − exclude) + include, each laid over `fixed`, defaults filled in. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from harness.recipes.optimizers import registry as optimizers
from harness.recipes.regularized import with_regularized_keys
from harness.recipes.regularizers import registry as regularizers
from harness.recipes.schedules import registry as schedules
from harness.schema.errors import InputError, Problem
from harness.schema.registry import Registry
from harness.schema.suite import AXES, Choice, Device, Recipe, RecipeGrid, Settings, Suite
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
    "regularizers": regularizers,
}
"""Where the names of a suite are looked up, by key."""

Sources = dict[str, tuple[str | int, ...]]
"""Key of a cell → where its value stands in the suite, as a path."""


class Cell(Settings):
    """A point of the grid, complete. Only `warmup_steps` and `eval_every` may be open: found, and once at the end."""

    workload: Choice
    size: str
    strategy: Choice
    precision: Choice
    techniques: tuple[Choice, ...]
    recipe: Recipe
    global_batch: int
    micro_batch: int | Literal["max"]
    steps: int
    devices: int | Literal["auto"]
    device: Device


def cells_of(suite: Suite) -> list[Cell]:
    """All cells, complete and each once. Raises UnknownName, or InputError where a cell has no workload."""
    return list(dict.fromkeys(fill(cell) for cell in given_cells(suite)))


def given_cells(suite: Suite) -> list[Settings]:
    """The cells as far as the suite gives them, `exclude` applied (see `sourced_cells`)."""
    return [cell for cell, _sources in sourced_cells(suite)]


def sourced_cells(suite: Suite) -> list[tuple[Settings, Sources]]:
    """The cells as far as the suite gives them, each with the paths of its values in the suite, `exclude` applied.

    With neither cases nor a grid the one cell is `fixed`; where there are only includes, they are all there is.
    """
    fixed = (suite.fixed, _sources(suite.fixed, "fixed"))
    axes = suite.grid.axes
    cases = [_laid(fixed, case, "case", number) for number, case in enumerate(suite.case)]
    cells: list[tuple[Settings, Sources]] = []
    if axes or suite.case or not suite.include:
        for base, sources in cases or [fixed]:
            for chosen in itertools.product(*(enumerate(values) for values in axes.values())):
                points = Settings().model_copy(update={k: v for k, (_, v) in zip(axes, chosen, strict=True)})
                paths = {k: _source(suite, k, number) for k, (number, _) in zip(axes, chosen, strict=True)}
                cells.append((over(base, points), sources | paths | _parts(points.recipe, paths.get("recipe", ()))))
    if suite.exclude:
        cells = [each for each in cells if not any(matches(fill(each[0]), pattern) for pattern in suite.exclude)]
    return cells + [_laid(fixed, cell, "include", number) for number, cell in enumerate(suite.include)]


def _source(suite: Suite, key: str, number: int) -> tuple[str | int, ...]:
    in_table = key == "recipe" and isinstance(suite.grid.recipe, RecipeGrid)
    return ("grid", key) if in_table else ("grid", key, number)


def _laid(below: tuple[Settings, Sources], above: Settings, table: str, number: int) -> tuple[Settings, Sources]:
    return over(below[0], above), below[1] | _sources(above, table, number)


def _sources(settings: Settings, *prefix: str | int) -> Sources:
    paths = {key: (*prefix, key) for key, value in settings if value is not None}
    return paths | _parts(settings.recipe, paths.get("recipe", ()))


def _parts(recipe: Recipe | None, path: tuple[str | int, ...]) -> Sources:
    """Where each part of a recipe stands, as `recipe.lr`: a recipe may be laid over another."""
    return {f"recipe.{part}": (*path, part) for part, value in recipe or () if value is not None}


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
    size = cell.size or next(iter(facts.sizes))
    return Cell(
        workload=canonical(workloads, cell.workload),
        size=size,
        strategy=canonical(strategies, cell.strategy or Choice(name="single")),
        precision=canonical(precisions, cell.precision or Choice(name="fp32")),
        techniques=tuple(canonical(techniques, technique) for technique in cell.techniques or ()),
        recipe=with_regularized_keys(_canonical_recipe((cell.recipe or Recipe()).over(facts.recipe_for(size)))),
        global_batch=_batch(cell) or facts.global_batch,
        batch_per_device=cell.batch_per_device,
        micro_batch=cell.micro_batch or facts.micro_batch,
        steps=cell.steps or STEPS,
        warmup_steps=cell.warmup_steps,
        eval_every=cell.eval_every,
        devices=cell.devices or "auto",
        device=cell.device or "auto",
    )


def _batch(cell: Settings) -> int | None:
    """The global batch that the cell gives; per device on `auto` devices that of one, until the plan counts them."""
    if cell.batch_per_device is None:
        return cell.global_batch
    return cell.batch_per_device * (cell.devices if isinstance(cell.devices, int) else 1)


def on_devices(cell: Cell, count: int) -> Cell:
    """The cell on so many devices: a batch that is given per device makes the global one."""
    if cell.batch_per_device is None:
        return cell
    return cell.model_copy(update={"global_batch": cell.batch_per_device * count})


def canonical(registry: Registry[Any], choice: Choice) -> Choice:
    """The choice without options that equal their default: the same thing asked for in one way."""
    options = registry[choice.name].options
    kept = {k: v for k, v in choice.options.items() if k not in options or not _same(options[k].default, v)}
    return Choice(name=choice.name, options=kept)


def _same(default: object, value: object) -> bool:
    return default == value and isinstance(default, bool) == isinstance(value, bool)


def _canonical_recipe(recipe: Recipe) -> Recipe:
    update: dict[str, Any] = {}
    if recipe.optimizer is not None:
        update["optimizer"] = canonical(optimizers, recipe.optimizer)
    if recipe.schedule is not None:
        update["schedule"] = canonical(schedules, recipe.schedule)
    if recipe.regularizers is not None:
        update["regularizers"] = tuple(canonical(regularizers, each) for each in recipe.regularizers)
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


def model_ranks(cell: Cell, count: int) -> int:
    """Ranks of the cell that hold one copy of the model together and take the same data."""
    facts = strategies[cell.strategy.name].facts
    return facts.model_ranks(count, **cell.strategy.options) if facts.model_ranks else 1


def data_shares(cell: Cell, count: int) -> int:
    """Shares that the samples of a micro-step are divided into: one per device, or per devices that share a model."""
    return max(1, spread(cell, count) // model_ranks(cell, count))


def obstacle(cell: Cell, count: int) -> str | None:
    """Why a complete cell cannot run on so many devices, by its own numbers; None: it can."""
    least = strategies[cell.strategy.name].facts.min_devices
    if count < least:
        return f"{cell.strategy.name} needs at least {least} devices, there {'is' if count == 1 else 'are'} {count}"
    together = model_ranks(cell, count)
    if count % together:
        return f"{cell.strategy.label} needs a multiple of {together} devices: {count} do not divide so"
    ranks = data_shares(cell, count)
    if cell.global_batch % (least_micro_batch(cell) * ranks):
        times = f" × {ranks} devices" if ranks > 1 else ""
        return f"micro_batch {cell.micro_batch}{times} does not divide global_batch {cell.global_batch}"
    return None


def least_micro_batch(cell: Cell) -> int:
    """The smallest micro-batch that the cell may run with: its own, or 1 where the largest that fits is asked for."""
    return 1 if cell.micro_batch == "max" else cell.micro_batch


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
