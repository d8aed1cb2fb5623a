"""Why a recipe cannot run in a setting, as far as planning can tell. Pure."""

from __future__ import annotations

from harness.recipes import optimizers, regularizers
from harness.recipes.regularized import obstacle_in_workload, parts_of
from harness.schema.suite import Choice, Recipe
from harness.strategies import Setting
from harness.strategies import registry as strategies


def recipe_obstacle(recipe: Recipe, setting: Setting) -> str | None:
    """The first reason why the recipe's optimizer or a regularizer cannot run so, or None: they can.

    Of the optimizer: a package that is not installed, parameters in a form that it cannot update, weight decay that it
    does not have (it would be taken and ignored), and state to divide where it keeps none.
    """
    if recipe.optimizer is None:
        return None
    name, options = recipe.optimizer.name, recipe.optimizer.options
    facts, strategy = optimizers.registry[name].facts, strategies[setting.strategy].facts
    if reason := facts.against(setting, options) or facts.unable.get(strategy.updates):
        return reason
    if facts.weight_decay == "none" and recipe.weight_decay:
        return f"{name} has no weight decay, and the recipe's is {recipe.weight_decay:g}: set weight_decay = 0"
    divides_state = strategy.updates == "some" and strategy.model_ranks is None
    if divides_state and facts.class_name is not None and "." not in name and not facts.numbers_kept((2, 2), options):
        return f"{recipe.optimizer.label} keeps no state: {setting.strategy} has nothing to divide"
    found = (regularizer_obstacle(choice, setting) for choice in recipe.regularizers or ())
    return next(filter(None, found), None)


def regularizer_obstacle(choice: Choice, setting: Setting) -> str | None:
    """Why a regularizer cannot run so, or None: what it needs, its workload, or an engine that updates by itself."""
    facts = regularizers.registry[choice.name].facts
    if reason := facts.against(setting, choice.options) or obstacle_in_workload(choice, setting.workload):
        return reason
    if strategies[setting.strategy].facts.updates != "flat":
        return None
    part, engine = parts_of(choice), f"{setting.strategy}'s engine"
    if part.penalty is not None:
        return (
            f"{choice.name} is added to the reduced gradients before they are clipped: {engine} reduces them into flat "
            "parts of its own, clips and updates in one call"
        )
    if part.average is not None:
        return (
            f"{choice.name} puts an average in the place of the weights: {engine} trains flat copies of its own, which "
            "that would not reach"
        )
    return None
