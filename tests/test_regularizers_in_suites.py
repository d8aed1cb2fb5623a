"""Regularizers in suites: names and options checked, what is given twice or can never run refused, the rest planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analyse.caveats import caveats
from harness.analyse.frame import cell_label
from harness.analyse.study import study
from harness.machine.inventory import Inventory
from harness.recipes.obstacles import recipe_obstacle
from harness.recipes.regularized import clashes, regularization, with_regularized_keys
from harness.run.plan import Plan, make_plan
from harness.run.spec import load_suite
from harness.schema.errors import InputError
from harness.schema.record import Record
from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts, Setting
from tests.synthetic_run import Shape, synthetic_run
from tests.trials import a_run_info, a_trial

SUITE = """\
question = "Which?"
[fixed]
workload = {workload}
size = "nano"
steps = 30
warmup_steps = 10
{more}
[grid]
recipe = [
  {{ {recipe} }},
]
"""
GPT, DETECTION = '"gpt"', '"detection"'


def written(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def complaints(folder: Path, recipe: str, workload: str = GPT, more: str = "") -> list[str]:
    path = written(folder, SUITE.format(recipe=recipe, workload=workload, more=more))
    try:
        load_suite(path)
    except InputError as error:
        return [str(problem).removeprefix(f"{path}:10: grid.recipe[0].") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("recipe", "workload", "message"),
    [
        ('regularizers = ["dropuot"]', GPT,
         "regularizers[0]: found 'dropuot', expected one of "),
        ('regularizers = ["l1", { name = "l2", wieght = 0.1 }]', GPT,
         "regularizers[1].wieght: found 0.1, expected an option of l2: weight (did you mean 'weight'?)"),
        ('regularizers = [{ name = "dropout", rate = 1.0 }]', GPT,
         "regularizers[0].rate: found 1.0, expected less than 1"),
        ('regularizers = [{ name = "l1", weight = 0 }]', GPT,
         "regularizers[0].weight: found 0, expected greater than 0"),
        ('regularizers = ["l1", { name = "l1", weight = 0.1 }]', GPT,
         "regularizers[1]: found 'l1(weight=0.1)', expected each thing set once: l1 is set by one before it"),
        ('weight_decay = 0.2, regularizers = ["weight_decay"]', GPT,
         "regularizers[0]: found 'weight_decay', expected either this or grid.recipe[0].weight_decay, not both"),
        ('clip = "off", regularizers = ["clipping"]', GPT,
         "regularizers[0]: found 'clipping', expected either this or grid.recipe[0].clip, not both"),
        ('regularizers = ["dropout"]', '{ name = "gpt", dropout = 0.2 }',
         "regularizers[0]: found 'dropout', expected either this or fixed.workload.dropout, not both"),
        ('regularizers = ["dropout"]', DETECTION,
         "regularizers[0]: found 'dropout', expected a regularizer that can run: dropout sets the workload's option "
         "dropout, which detection does not have (workloads with it: "),
        ('regularizers = ["mixup"]', GPT,
         "regularizers[0]: found 'mixup', expected a regularizer that can run: mixup needs samples with classes, and "
         "those of gpt have none (workloads with it: "),
        ('regularizers = ["early_stopping"]', GPT,
         "regularizers[0].patience: expected a number of evaluations that the run has: with 3 it can end before the "
         "last of 5 at the earliest, and it has 2 (see eval_every)"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_clear_line(tmp_path: Path, recipe: str, workload: str, message: str) -> None:
    found = complaints(tmp_path, recipe, workload)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_name_that_is_nearly_right_is_told_the_right_one(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, 'regularizers = ["dropuot"]')
    assert found.endswith("(did you mean 'dropout'?)")


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ('regularizers = ["l1", { name = "dropout", rate = 0.1 }]', ""),
        ('regularizers = "l1"', ""),
        ("regularizers = []", ""),
        ('regularizers = [{ name = "early_stopping", patience = 2 }]', "eval_every = 8"),
        ('regularizers = ["weight_decay", "clipping"]', "recipe = { weight_decay = 0, clip = 2.0 }"),
    ],
)
def test_what_fits_passes(tmp_path: Path, recipe: str, more: str) -> None:
    assert complaints(tmp_path, recipe, more=more) == []


def planned(folder: Path, text: str) -> Plan:
    return make_plan(load_suite(written(folder, text)), Inventory(cores=(0, 1), machine_key="m", environment={}))


TABLE = """\
question = "Which?"
[fixed]
size = "nano"
[[case]]
workload = "gpt"
[[case]]
workload = "resnet"
[grid.recipe]
regularizers = [[], ["mixup", "l1"], [{ name = "weight_decay", decay = 0.3 }]]
[budget]
repeats = 1
"""


def test_a_table_of_lists_is_a_cell_for_each_and_what_some_workloads_lack_is_unsupported(tmp_path: Path) -> None:
    plan = planned(tmp_path, TABLE)
    cells = {(trial.workload.name, trial.recipe.regularizers): trial for trial in plan.trials}
    assert len(cells) == 5
    ((trial, reason),) = plan.unsupported
    assert trial.workload.name == "gpt"
    assert reason.startswith("mixup needs samples with classes, and those of gpt have none (workloads with it: ")
    decayed = cells["gpt", (Choice(name="weight_decay", options={"decay": 0.3}),)]
    assert decayed.recipe.weight_decay == 0.3
    assert cells["gpt", ()].recipe.weight_decay == 0.1
    assert plan.group_keys == ("workload",) or plan.group_keys == ["workload"]
    assert "mixup + l1" in next(
        trial.label for trial in plan.trials if trial.recipe.regularizers and "mixup" in trial.label
    )


def test_an_option_at_its_default_is_the_same_cell(tmp_path: Path) -> None:
    plan = planned(tmp_path, TABLE.replace('["mixup", "l1"]', '["l1"], [{ name = "l1", weight = 1e-5 }]'))
    assert len(plan.trials) == 2 * 3


def test_optimizer_without_weight_decay_sees_that_of_a_regularizer(tmp_path: Path) -> None:
    setting = Setting(kind="cpu", devices=1, workload="gpt")
    recipe = Recipe.model_validate({"optimizer": "lbfgs", "weight_decay": 0, "regularizers": ["weight_decay"]})
    assert recipe_obstacle(recipe, setting) is None
    assert "has no weight decay" in (recipe_obstacle(with_regularized_keys(recipe), setting) or "")


@pytest.mark.parametrize(("name", "why"), [("l1", "clips and updates in one call"), ("ema", "flat copies")])
def test_an_engine_that_updates_by_itself_is_an_obstacle_with_its_reason(name: str, why: str) -> None:
    recipe = Recipe.model_validate({"optimizer": "adamw", "regularizers": [name]})
    for strategy in ("single", "ddp", "zero1", "fsdp", "pipeline", "horovod"):
        assert recipe_obstacle(recipe, Setting(kind="cpu", devices=2, strategy=strategy, workload="gpt")) is None
    found = recipe_obstacle(recipe, Setting(kind="cpu", devices=2, strategy="deepspeed", workload="gpt"))
    assert why in (found or "")


def test_mixing_needs_two_samples() -> None:
    setting = Setting(
        kind="cpu", devices=1, workload="resnet", global_batch=1, model=ModelFacts(traits=frozenset({"classes"}))
    )
    recipe = Recipe.model_validate({"optimizer": "adamw", "regularizers": ["mixup"]})
    assert recipe_obstacle(recipe, setting) == "mixup mixes samples of one step, and global_batch is 1"


def test_two_that_set_the_same_clash_and_others_do_together_what_each_does() -> None:
    both = Recipe.model_validate({"regularizers": ["l1", "dropout", "l2", "ema"]})
    assert list(clashes(both)) == []
    together = regularization(both)
    assert (len(together.penalties), together.workload, together.average) == (2, {"dropout": 0.1}, 0.99)
    twice = Recipe.model_validate({"regularizers": ["ema", "l1", {"name": "ema", "decay": 0.5}]})
    assert list(clashes(twice)) == [(2, "ema")]


def test_trials_without_regularizers_are_those_of_before_there_were_any() -> None:
    recipe: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-3, "schedule": "constant", "weight_decay": 0, "clip": 1.0}
    without = a_trial(recipe=recipe)
    assert without.id == a_trial(recipe={**recipe, "regularizers": []}).id
    assert without.id != a_trial(recipe={**recipe, "regularizers": ["l1"]}).id
    assert "regularizers" not in str(without._asked())


def test_cells_are_told_apart_by_their_regularizers() -> None:
    info = a_run_info(suite={"grid": {"recipe": {"regularizers": []}}}, compared_keys=["recipe"])
    recipe = {"optimizer": "adamw", "weight_decay": 0.1, "regularizers": ["l1", {"name": "dropout", "rate": 0.3}]}
    assert cell_label(info, a_trial(recipe=recipe)) == ("l1 dropout", "rate=0.3")
    assert cell_label(info, a_trial(recipe={**recipe, "regularizers": []})) == ("no regularizers", "")


def test_a_trial_that_ended_early_is_said() -> None:
    def ended(stopped: int | None) -> list[str]:
        def early(record: Record) -> Record:
            noted = {"early_stopping": {"stopped_step": stopped, "best_step": 5, "best_value": 0.5}}
            ranks = [rank.model_copy(update={"facts": rank.facts | noted}) for rank in record.per_rank]
            return record.model_copy(update={"per_rank": ranks})

        return [text for text in caveats(study(synthetic_run(Shape(break_=early)))) if "Early stopping" in text]

    assert len(ended(9)) == 1
    assert ended(None) == []
