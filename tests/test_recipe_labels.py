"""What recipes of a suite differ in stands in the names of its trials: in the plan, while it runs, in every record."""

from __future__ import annotations

from typing import Any

import pytest

from harness.machine.inventory import Inventory
from harness.report.listing import planned
from harness.report.progress import Matrix, describe
from harness.run.conduct import Event
from harness.run.plan import make_plan, reference_trial
from harness.schema.recipe_text import differing, part_text, parts_text, telling
from harness.schema.suite import Choice, Recipe, Suite
from harness.schema.trial import Trial

INVENTORY = Inventory(cores=[0, 1])


def plan(**tables: Any) -> list[Trial]:
    fixed = {"workload": "gpt", "size": "nano", "strategy": "single"} | tables.pop("fixed", {})
    content = {"question": "?", "fixed": fixed, "budget": {"repeats": 1}} | tables
    return make_plan(Suite.model_validate(content), INVENTORY).trials


def test_cells_that_differ_in_their_recipe_have_names_that_differ() -> None:
    grid = {"recipe": {"optimizer": ["adamw", {"name": "sgd", "momentum": 0.8}], "lr": [1e-3, 1e-2]}}
    trials = plan(grid=grid)
    assert {trial.label for trial in trials} == {
        "gpt/nano single fp32 adamw lr 0.001",
        "gpt/nano single fp32 adamw lr 0.01",
        "gpt/nano single fp32 sgd(momentum=0.8) lr 0.001",
        "gpt/nano single fp32 sgd(momentum=0.8) lr 0.01",
    }
    assert [row["trial"] for row in planned(make_plan_of(grid))] == [trial.label for trial in trials]
    assert len(Matrix(trials)._labels) == 4
    for kind in ("started", "reference"):
        said = {describe(Event(kind, trial, 1, 4)) for trial in trials}  # type: ignore[arg-type]
        assert len(said) == 4, f"{kind}: they cannot be told apart"
        assert any("sgd(momentum=0.8) lr 0.01" in text for text in said)


def make_plan_of(grid: dict[str, Any]) -> Any:
    fixed = {"workload": "gpt", "size": "nano", "strategy": "single"}
    content = {"question": "?", "fixed": fixed, "budget": {"repeats": 1}, "grid": grid}
    return make_plan(Suite.model_validate(content), INVENTORY)


def test_where_recipes_do_not_differ_names_stay_short() -> None:
    assert {trial.label for trial in plan(grid={"strategy": ["single", "ddp"]})} == {
        "gpt/nano single fp32",
        "gpt/nano ddp fp32",
    }
    two = plan(fixed={"workload": None, "size": None}, case=[{"workload": "gpt"}, {"workload": "resnet"}])
    assert {trial.varied for trial in two} == {()}, "workloads have recipes of their own: that is no comparison"


def test_what_is_told_is_no_part_of_what_is_asked() -> None:
    alone, among = plan(fixed={"recipe": {"lr": 1e-3}})[0], plan(grid={"recipe": {"lr": [1e-3, 1e-2]}})
    told = next(trial for trial in among if trial.recipe.lr == 1e-3)
    assert (told.id, told.cell) == (alone.id, alone.cell), "--resume knows it in another suite"
    assert told.label != alone.label
    assert reference_trial(told).id == reference_trial(alone).id


@pytest.mark.parametrize(
    ("recipe", "key", "text"),
    [
        ({"lr": 3e-3}, "lr", "lr 0.003"),
        ({"weight_decay": 0}, "weight_decay", "wd 0"),
        ({"clip": "off"}, "clip", "clip off"),
        ({"clip": 1.0}, "clip", "clip 1"),
        ({"schedule": {"name": "cosine", "floor": 0.1}}, "schedule", "cosine(floor=0.1)"),
        ({}, "optimizer", ""),
    ],
)
def test_parts_as_text(recipe: dict[str, Any], key: str, text: str) -> None:
    assert part_text(Recipe.model_validate(recipe), key) == text


def test_differing_keys_are_in_the_order_of_a_recipe() -> None:
    recipes = [Recipe(lr=1e-3, clip=1.0), Recipe(lr=1e-2, clip=1.0, weight_decay=0.1)]
    assert differing(recipes) == ("lr", "weight_decay")
    assert parts_text(recipes[1], differing(recipes)) == "lr 0.01 wd 0.1"
    assert differing(recipes[:1]) == ()


def test_a_number_that_a_regularizer_sets_is_not_told_beside_it() -> None:
    plain = Recipe.model_validate({"lr": 1e-3, "weight_decay": 0, "clip": "off", "regularizers": []})
    decayed = plain.model_copy(update={"weight_decay": 0.1, "regularizers": (Choice(name="weight_decay"),)})
    clipped = plain.model_copy(update={"clip": 1.0, "regularizers": (Choice(name="clipping"),)})
    assert differing([plain, decayed, clipped]) == ("weight_decay", "clip", "regularizers")
    assert telling([plain, decayed, clipped]) == ("regularizers",)
    more = decayed.model_copy(update={"weight_decay": 0.5})
    assert telling([plain, decayed, more]) == ("weight_decay", "regularizers"), "here it is what tells two apart"
