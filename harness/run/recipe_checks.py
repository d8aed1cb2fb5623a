"""Checks of recipes in a suite: options that contradict one another, and schedules that are longer than the run."""

from __future__ import annotations

from collections.abc import Iterator

from harness.measure.steady import WARMUP_MAX
from harness.recipes import optimizers, schedules
from harness.recipes.schedules import Length
from harness.run.cells import Cell, Sources, fill, sourced_cells
from harness.run.locate import Path
from harness.schema.suite import Choice, Suite

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
        for found in (*_contradiction(recipe.optimizer, sources), *_misfit(recipe.schedule, run, sources)):
            problems.setdefault(repr(found), found)
    return list(problems.values())


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
