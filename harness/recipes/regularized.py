"""What all regularizers of a recipe do together, and what of it planning must know. Pure: no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.recipes.regularizers import EarlyStop, Mixture, Penalty, Regularizer, registry
from harness.schema.suite import Choice, Recipe
from harness.workloads import registry as workloads

ONCE = ("mix", "average", "stop")
"""Parts that two regularizers cannot both have."""


@dataclass(frozen=True)
class Regularization:
    """The parts of all regularizers of a recipe (see `regularizers.Regularizer`)."""

    workload: Mapping[str, Any]
    recipe: Mapping[str, Any]
    penalties: Sequence[Penalty] = ()
    mix: Callable[[int, int, int], Mixture] | None = None
    average: float | None = None
    stop: EarlyStop | None = None


def parts_of(choice: Choice) -> Regularizer:
    """What one regularizer does."""
    made: Regularizer = registry[choice.name].function(**choice.options)
    return made


def regularization(recipe: Recipe) -> Regularization:
    """What the recipe's regularizers do together. Two that set the same are refused before (see `clashes`)."""
    parts = [parts_of(choice) for choice in recipe.regularizers or ()]
    return Regularization(
        workload={key: value for part in parts for key, value in part.workload.items()},
        recipe={key: value for part in parts for key, value in part.recipe.items()},
        penalties=[part.penalty for part in parts if part.penalty is not None],
        **{name: next((found for part in parts if (found := getattr(part, name)) is not None), None) for name in ONCE},
    )


def with_regularized_keys(recipe: Recipe) -> Recipe:
    """The recipe with the keys that its regularizers set: they win over what stands there."""
    return recipe.model_copy(update=dict(regularization(recipe).recipe)) if recipe.regularizers else recipe


def clashes(recipe: Recipe) -> Iterator[tuple[int, str]]:
    """Regularizers (by number, 0-based) that do what one before them does already, and what that is."""
    seen: dict[str, str] = {}
    for number, choice in enumerate(recipe.regularizers or ()):
        part = parts_of(choice)
        does = [f"the workload's {key}" for key in part.workload] + [f"the recipe's {key}" for key in part.recipe]
        does += [name for name in ONCE if getattr(part, name) is not None]
        for what in [choice.name, *does]:
            if what in seen:
                yield number, what
                break
            seen[what] = choice.name


def obstacle_in_workload(choice: Choice, workload: str) -> str | None:
    """Why a workload cannot be regularized so: it lacks the trait or the option, or its option takes no such value."""
    options, trait = parts_of(choice).workload, registry[choice.name].facts.trait
    own = workloads[workload]
    if trait and trait not in own.facts.model.traits:
        there = [entry.name for entry in workloads.entries() if trait in entry.facts.model.traits]
        return f"{choice.name} needs samples with {trait}, and those of {workload} have none ({_having(there)})"
    lacking = [name for name in options if name not in own.options]
    if lacking:
        there = [entry.name for entry in workloads.entries() if set(options) <= set(entry.options)]
        named = ", ".join(lacking)
        return f"{choice.name} sets the workload's option {named}, which {workload} does not have ({_having(there)})"
    problems = own.check(options, "", workload)
    wrong = next((problem for problem in problems if problem.key.rpartition(".")[2] in options), None)
    return f"{choice.label} sets {wrong.key} = {wrong.found}: expected {wrong.expected}" if wrong else None


def _having(there: Sequence[str]) -> str:
    return f"workloads with it: {', '.join(there)}" if there else "no workload has it"
