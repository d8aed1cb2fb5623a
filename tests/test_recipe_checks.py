"""Recipes of a suite that cannot be meant: said with line, key and what was expected, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run.spec import load_suite
from harness.schema.errors import InputError
from harness.schema.suite import Choice

SUITE = """\
question = "Which?"
[fixed]
workload = "gpt"
size = "nano"
steps = 30
warmup_steps = 10
{more}
[grid]
recipe = [
  {{ {recipe} }},
]
"""


def complaints(folder: Path, recipe: str, more: str = "") -> list[str]:
    path = folder / "suite.toml"
    path.write_text(SUITE.format(recipe=recipe, more=more))
    try:
        load_suite(path)
    except InputError as error:
        return [str(problem).removeprefix(f"{path}:10: grid.recipe[0].") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('schedule = { name = "cosine", warmup_steps = 40 }',
         "schedule.warmup_steps: found 40, expected fewer steps than the run has, which are 40 at most"),
        ('schedule = { name = "step", every = 40 }',
         "schedule.every: found 40, expected fewer steps than the run has after warm-up, which are 40 at most"),
        ('schedule = { name = "step", every = 30, warmup_steps = 10 }',
         "schedule.every: found 30, expected fewer steps than the run has after warm-up, which are 30 at most"),
        ('schedule = "step"', "schedule.every: expected a value: step has no default for it"),
        ('schedule = { name = "step", every = [3] }', "schedule.every: found [3], expected a valid integer"),
        ('schedule = { name = "multistep", milestones = [20, 40] }',
         "schedule.milestones: found [20, 40], expected steps of the run, which has 40 at most"),
        ('schedule = { name = "multistep", milestones = [20, 10] }',
         "schedule.milestones: found [20, 10], expected steps in rising order"),
        ('schedule = { name = "multistep", milestones = [5], warmup_steps = 6 }',
         "schedule.milestones: found [5], expected steps after the warm-up, which takes 6"),
        ('schedule = { name = "multistep", milestones = [] }',
         "schedule.milestones: found [], expected a list with at least 1 item"),
        ('schedule = { name = "multistep", milestones = [10, 20.5] }',
         "schedule.milestones[1]: found [10, 20.5], expected a valid integer"),
        ('schedule = { name = "multistep", milestones = [[10]] }',
         "schedule.milestones[0]: found [10], expected a number, a text, true, false or a list of these"),
        ('schedule = { name = "wsd", warmup_steps = 35 }',
         "schedule.decay: expected a share of the run that leaves room for warm-up: 35 + 8 of 40 steps"),
        ('schedule = { name = "cosine_restarts", cycles = 30 }',
         "schedule.cycles: found 30, expected fewer: the first cycle would have 1.33 of the run's 40 steps"),
        ('schedule = { name = "onecycle", rise = 0.01 }',
         "schedule.rise: found 0.01, expected a share of the run's 40 steps that is more than one step"),
        ('schedule = "plateau"',
         "schedule.patience: expected a number of evaluations that the run has: with 2 the rate can fall after 4 at "
         "the earliest, and it has 2 (see eval_every)"),
        ('optimizer = { name = "sgd", momentum = 0, nesterov = true }',
         "optimizer.momentum: found 0, expected greater than 0: Nesterov's momentum is one"),
        ('optimizer = { name = "adamw", foreach = true, fused = true }',
         "optimizer.fused: found True, expected false, or foreach = false: torch takes one of the two"),
        ('optimizer = { name = "rprop", step_min = 1, step_max = 0.5 }',
         "optimizer.step_min: found 1, expected at most step_max, which is 0.5"),
        ('optimizer = { name = "lion", beta3 = 0.5 }',
         "optimizer.beta3: found 0.5, expected an option of lion: beta1, beta2, foreach (did you mean 'beta2'?)"),
        ('optimizer = { name = "adagrad", eps = 0 }', "optimizer.eps: found 0, expected greater than 0"),
        ("lr = 0", "lr: found 0, expected greater than 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_clear_line(tmp_path: Path, recipe: str, message: str) -> None:
    found = complaints(tmp_path, recipe)
    assert message in found


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ('schedule = { name = "cosine", warmup_steps = 39 }', ""),
        ('schedule = { name = "step", every = 39 }', ""),
        ('schedule = { name = "multistep", milestones = [10, 39], warmup_steps = 10 }', ""),
        ('schedule = { name = "wsd", warmup_steps = 32 }', ""),
        ('schedule = { name = "cosine_restarts", cycles = 20 }', ""),
        ('schedule = "onecycle"', ""),
        ('schedule = "plateau"', "eval_every = 10"),
        ('optimizer = { name = "sgd", momentum = 0 }', ""),
        ('optimizer = { name = "torch.optim.NAdam", momentum_decay = 0.01, beta1 = 0.8 }', ""),
    ],
)
def test_what_fits_passes(tmp_path: Path, recipe: str, more: str) -> None:
    assert complaints(tmp_path, recipe, more) == []


def test_a_workloads_own_schedule_is_left_as_it_is(tmp_path: Path) -> None:
    """A short run for speed alone need not give a schedule of its own."""
    path = tmp_path / "suite.toml"
    path.write_text('question = "q"\n[fixed]\nworkload = "gpt"\nsize = "nano"\nsteps = 3\nwarmup_steps = 1\n')
    load_suite(path)


def test_a_found_warm_up_makes_the_run_as_long_as_it_can_get(tmp_path: Path) -> None:
    fixed = 'question = "q"\n[fixed]\nworkload = "gpt"\nsize = "nano"\nsteps = 30\n'
    suite = fixed + 'recipe = { schedule = { name = "step", every = %d } }\n'
    path = tmp_path / "suite.toml"
    path.write_text(suite % 69)
    load_suite(path)
    path.write_text(suite % 70)
    with pytest.raises(InputError, match="which are 70 at most"):
        load_suite(path)


def test_a_list_is_an_option_that_comes_back_from_json() -> None:
    choice = Choice.model_validate({"name": "multistep", "milestones": [10, 20]})
    assert choice.label == "multistep(milestones=10+20)"
    assert Choice.model_validate_json(choice.model_dump_json()) == choice
    assert len({choice, Choice.model_validate({"name": "multistep", "milestones": [10, 20]})}) == 1
