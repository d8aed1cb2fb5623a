"""Names of recipes that are compared: what tells them apart, without options that most of them share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.schema.recipe_text import parts_text
from harness.schema.suite import Choice, Recipe


def recipe_labels(recipes: Sequence[Recipe], keys: Sequence[str]) -> list[str]:
    """What recipes differ in; options that most have, all with the same value, are left out where names stay apart."""
    whole = [_label(recipe, keys) for recipe in recipes]
    without = [_label(recipe.model_copy(update=_without_shared(recipe, recipes, keys)), keys) for recipe in recipes]
    return without if len(set(without)) == len(without) else whole


def short_labels(recipes: Sequence[Recipe], keys: Sequence[str]) -> list[str]:
    """The names without any options, where these tell all recipes apart; else their labels."""
    bare = [_label(recipe.model_copy(update=_bare(recipe, keys)), keys) for recipe in recipes]
    return bare if len(set(bare)) == len(bare) else recipe_labels(recipes, keys)


def shared_options(recipes: Iterable[Recipe], key: str) -> dict[str, object]:
    """The options of a key's choices that more than half of the recipes have, all with the same value."""
    values = [getattr(each, key) for each in recipes]
    choices = [value for value in values if isinstance(value, Choice)]
    given: dict[str, list[object]] = {}
    for choice in choices:
        for name, value in choice.options.items():
            given.setdefault(name, []).append(value)
    if len(choices) < 2:
        return {}
    return {name: own[0] for name, own in given.items() if 2 * len(own) > len(values) and len(set(own)) == 1}


def _without_shared(recipe: Recipe, recipes: Sequence[Recipe], keys: Iterable[str]) -> dict[str, Choice]:
    update = {}
    for key in keys:
        own, shared = getattr(recipe, key), shared_options(recipes, key)
        if isinstance(own, Choice) and shared:
            update[key] = Choice(name=own.name, options=without(own, shared))
    return update


def without(choice: Choice, shared: Iterable[str]) -> dict[str, object]:
    """A choice's options but those named."""
    names = set(shared)
    return {name: value for name, value in choice.options.items() if name not in names}


def _bare(recipe: Recipe, keys: Sequence[str]) -> dict[str, object]:
    update: dict[str, object] = {}
    for key in keys:
        value = getattr(recipe, key)
        if isinstance(value, Choice):
            update[key] = Choice(name=value.name)
        elif isinstance(value, (tuple, list)):
            update[key] = tuple(Choice(name=choice.name) for choice in value)
    return update


def _label(recipe: Recipe, keys: Iterable[str]) -> str:
    """What recipes differ in; where they do not, there is one: its optimizer."""
    return parts_text(recipe, keys) or (recipe.optimizer.label if recipe.optimizer else "recipe")
