"""Recipes in real trials: schedules that go by evaluation, weights that are evaluated, state that is seen in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.monitors.memory import tensors_in_lists
from harness.recipes.build import build_optimizer, weights_to_judge
from harness.recipes.optimizers import registry
from harness.schema.record import Status
from harness.schema.suite import Choice, Recipe
from tests.conftest import execute, make_trial

RECIPE = Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.0, clip=1.0)


def rates(strategy: str, ranks: int, **plateau: Any) -> list[float | None]:
    schedule = Choice.model_validate({"name": "plateau", "patience": 1, "factor": 0.5, **plateau})
    recipe = RECIPE.model_copy(update={"schedule": schedule})
    trial = make_trial(strategy, ranks, recipe=recipe, eval_every=3, warmup_steps=6, steps=18)
    record, series = execute(trial)
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    return series.columns["lr"]


@pytest.mark.processes
def test_plateau_falls_after_evaluations_that_are_no_better_on_every_rank_alike() -> None:
    """No evaluation is ever half as good again as the first that counts (step 6): the fall after step 12 is due at 14,
    the next after step 18 at 20.
    """
    alone = rates("single", 1, threshold=0.5)
    assert alone == pytest.approx([0.01] * 13 + [0.005] * 6 + [0.0025] * 5)
    assert rates("ddp", 2, threshold=0.5) == alone
    assert rates("single", 1, threshold=0.5, patience=5) == pytest.approx([0.01] * 24), "control: more patience"


def judged_and_trained(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weight while it is judged, and before and after that."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer, _schedule = build_optimizer(model, RECIPE.model_copy(update={"optimizer": Choice(name=name)}), 10)
    for _ in range(5):
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    before = model.weight.detach().clone()
    with weights_to_judge(optimizer):
        judged = model.weight.detach().clone()
    return judged, before, model.weight.detach()


def test_schedule_free_weights_are_judged_by_their_average_and_trained_on_as_they_were() -> None:
    pytest.importorskip("pytorch_optimizer")
    judged, before, after = judged_and_trained("schedulefree_adamw")
    assert not torch.allclose(judged, before, atol=1e-4)
    assert torch.allclose(before, after, atol=1e-6)
    judged, before, after = judged_and_trained("adamw")
    assert torch.equal(judged, before)
    assert torch.equal(before, after)


@pytest.mark.processes
def test_memory_holds_state_that_is_kept_in_lists() -> None:
    """L-BFGS keeps all but two vectors in lists: with a longer history the peak grows by the bytes of the pairs.

    And by those of a pair that is made before an old one goes, if the step takes a new one.
    """
    peaks = {}
    for history in (2, 6):
        optimizer = Choice(name="lbfgs", options={"history_size": history})
        recipe = RECIPE.model_copy(update={"optimizer": optimizer, "lr": 0.02})
        record, _series = execute(make_trial(recipe=recipe, warmup_steps=20))
        assert record.status is Status.OK, record.reason
        peaks[history] = record.metrics["peak_allocated_bytes"]
    vector = record.metrics["parameters"] * 4
    assert 2 * (6 - 2) * 0.95 <= (peaks[6] - peaks[2]) / vector <= 2 * (6 - 2 + 1) * 1.05


def test_tensors_in_lists_are_those_and_no_others() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    groups = [{"params": [weight], "weight_decay": 0.0}]
    lbfgs = registry["lbfgs"].function(groups, 0.1)
    for step in range(3):
        weight.grad = torch.full((2, 2), 3.0 - step)
        lbfgs.step()
    assert {tensor.shape for tensor in tensors_in_lists(lbfgs) if tensor.ndim} == {(4,)}
    adamw = registry["adamw"].function(groups, 0.1)
    adamw.step()
    assert tensors_in_lists(adamw) == []
