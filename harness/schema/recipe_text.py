"""Parts of a recipe as short text for people, so that recipes can be told apart by what they differ in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.schema.suite import Recipe

SHORT = {"weight_decay": "wd"}
"""Keys of a recipe as labels have them, where they differ."""


def part_text(recipe: Recipe, key: str) -> str:
    """One key: `lr 0.003`, `cosine(floor=0.1)`, `wd 0`, `clip off`, `no regularizers`; empty where it is left out."""
    value = getattr(recipe, key)
    if value is None:
        return ""
    if key == "clip":
        return f"clip {value:g}" if recipe.clips else "clip off"
    if isinstance(value, float):
        return f"{SHORT.get(key, key)} {value:g}"
    if isinstance(value, (tuple, list)):
        return " + ".join(choice.label for choice in value) or f"no {key}"
    return str(value.label)


def parts_text(recipe: Recipe, keys: Iterable[str]) -> str:
    """Several keys, in their order: `sgd(momentum=0.9) lr 0.1`."""
    return " ".join(text for key in keys if (text := part_text(recipe, key)))


def differing(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """The keys in which recipes differ, in the order of a recipe."""
    return tuple(
        key for key in Recipe.model_fields if any(getattr(each, key) != getattr(recipes[0], key) for each in recipes)
    )


def telling(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """The keys of `differing` that it takes to tell recipes apart.

    A regularizer that sets weight decay or clipping names itself; the number beside it would say so twice.
    """
    keys = differing(recipes)
    for key in ("weight_decay", "clip"):
        rest = tuple(each for each in keys if each != key)
        if len(_distinct(recipes, rest)) == len(_distinct(recipes, keys)):
            keys = rest
    return keys


def _distinct(recipes: Iterable[Recipe], keys: Sequence[str]) -> set[str]:
    return {repr([getattr(each, key) for key in keys]) for each in recipes}
