"""Why a recipe cannot run in a setting, as far as planning can tell. Pure."""

from __future__ import annotations

from harness.recipes import optimizers
from harness.schema.suite import Recipe
from harness.strategies import Setting
from harness.strategies import registry as strategies


def recipe_obstacle(recipe: Recipe, setting: Setting) -> str | None:
    """The first reason why the recipe's optimizer cannot run so, or None: it can.

    A package that is not installed, parameters in a form that it cannot update, weight decay that it does not have
    (it would be taken and ignored), and state to divide where it keeps none.
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
    return None
