"""Checks of recipes in a suite: options that contradict one another, schedules that are longer than the run, and what
is given twice: by a regularizer and beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.measure.steady import WARMUP_MAX
from harness.recipes import optimizers, regularizers, schedules
from harness.recipes.regularized import clashes, obstacle_in_workload, parts_of
from harness.recipes.schedules import Length
from harness.run.cells import Cell, Sources, fill, sourced_cells
from harness.run.locate import Path, dotted
from harness.schema.suite import Choice, Recipe, Suite

Found = tuple[Path, object, str]
"""Where in the suite, what stands there, and what is expected."""


def recipe_problems(suite: Suite) -> list[Found]:
    """Everything in the suite's own recipes that cannot be meant; a workload's defaults are left as they are."""
    problems: dict[str, Found] = {}
    for given, sources in sourced_cells(suite):
        recipe, cell = given.recipe, fill(given)
        if recipe is None:
            continue
        run = longest_run(cell, suite.budget.parity_steps)
        own = _given_twice(cell, recipe.regularizers or (), run, sources)
        for found in (*_contradiction(recipe.optimizer, sources), *_misfit(recipe.schedule, run, sources), *own):
            problems.setdefault(repr(found), found)
    return [*problems.values(), *_in_no_workload(suite)]


def longest_run(cell: Cell, parity_steps: int) -> Length:
    """The most optimizer steps the cell's schedule can be laid over, and the evaluations it is sure to be shown.

    A found warm-up takes as many steps as it needs; evaluation then ends with the timed steps (see Trial.evaluates_at).
    Evaluations within the parity steps are not shown to a schedule: until then all cells train as their reference does.
    """
    fixed = cell.warmup_steps
    steps = cell.steps + (WARMUP_MAX if fixed is None else fixed)
    last = cell.steps if fixed is None else steps
    every = cell.steps if cell.eval_every is None else cell.eval_every
    if every == 0:
        return Length(steps, 0)
    return Length(steps, sum(step % every == 0 or step == last for step in range(parity_steps + 1, last + 1)))


def _contradiction(choice: Choice | None, sources: Sources) -> Iterator[Found]:
    if choice is None:
        return
    contradiction = optimizers.registry[choice.name].facts.contradiction
    if contradiction is not None and (fault := contradiction(**choice.options)):
        yield _found("optimizer", choice, fault, sources)


def _misfit(choice: Choice | None, run: Length, sources: Sources) -> Iterator[Found]:
    if choice is None:
        return
    if fault := schedules.registry[choice.name].facts.against(run, choice.options):
        yield _found("schedule", choice, fault, sources)


def _found(part: str, choice: Choice, fault: tuple[str, str], sources: Sources) -> Found:
    option, expected = fault
    found = choice.options.get(option)
    return (*sources[f"recipe.{part}"], option), list(found) if isinstance(found, tuple) else found, expected


# Regularizers

LAYERS = ("fixed", "case", "grid", "include")
"""Tables of a suite, each laid over those before it."""


def _given_twice(cell: Cell, choices: Sequence[Choice], run: Length, sources: Sources) -> Iterator[Found]:
    """Regularizers that are there twice or too long for the run, or set what the suite gives beside them."""
    recipe = Recipe(regularizers=tuple(choices))
    for number, what in clashes(recipe):
        yield _regularizer(number, choices[number], sources, f"each thing set once: {what} is set by one before it")
    for number, choice in enumerate(choices):
        part, facts = parts_of(choice), regularizers.registry[choice.name].facts
        if fault := facts.too_long(run, choice.options):
            option, expected = fault
            place = _place(number, sources)
            yield (*place, option), choice.options.get(option), expected
        for key in set(part.workload) & set(cell.workload.options):
            other = dotted((*sources["workload"], key))
            yield _regularizer(number, choice, sources, f"either this or {other}, not both")
        for key in part.recipe:
            if not _laid_over(sources.get(f"recipe.{key}"), sources["recipe.regularizers"]):
                other = dotted(sources[f"recipe.{key}"])
                yield _regularizer(number, choice, sources, f"either this or {other}, not both")


def _laid_over(below: Path | None, above: Path) -> bool:
    """Whether a value stands in a table that is laid over the other's, or there is no other."""
    return below is None or LAYERS.index(str(below[0])) < LAYERS.index(str(above[0]))


def _in_no_workload(suite: Suite) -> Iterator[Found]:
    """Regularizers that no workload of the suite can have; where some can, the others' cells are UNSUPPORTED."""
    tried: dict[str, list[Found | None]] = {}
    for given, sources in sourced_cells(suite):
        choices = (given.recipe.regularizers if given.recipe else None) or ()
        for number, choice in enumerate(choices):
            reason = obstacle_in_workload(choice, fill(given).workload.name)
            found = _regularizer(number, choice, sources, f"a regularizer that can run: {reason}") if reason else None
            tried.setdefault(choice.label, []).append(found)
    hopeless = (problems for problems in tried.values() if None not in problems)
    yield from {repr(found): found for problems in hopeless for found in problems if found}.values()


def _place(number: int, sources: Sources) -> Path:
    """Where a regularizer stands: of a table of lists the list of lists, which does not tell the combination."""
    place = sources["recipe.regularizers"]
    return place if place[:2] == ("grid", "recipe") and len(place) == 3 else (*place, number)


def _regularizer(number: int, choice: Choice, sources: Sources, expected: str) -> Found:
    return _place(number, sources), choice.label, expected
