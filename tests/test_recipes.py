"""Recipes: schedules at their corners, optimizers against their formulas, who gets weight decay."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.recipes import optimizers, schedules
from harness.recipes.build import build_optimizer, decay_groups, group_facts
from harness.schema.suite import Choice, Recipe

RECIPE = Recipe(optimizer="adamw", lr=0.1, schedule="constant", weight_decay=0.5, clip="off")


def schedule(name: str, total_steps: int, **options: object) -> Callable[[int], float]:
    made: Callable[[int], float] = schedules.registry[name].function(total_steps, **options)
    return made


def model() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3), nn.Unflatten(1, (3, 1)), nn.Conv1d(3, 2, 1)
    )


def test_constant_stays_at_the_peak() -> None:
    at = schedule("constant", 10)
    assert [at(step) for step in (0, 5, 9, 100)] == [1, 1, 1, 1]


GIVEN: dict[str, dict[str, object]] = {"step": {"every": 9}, "multistep": {"milestones": (30, 60)}}
WARMED_UP = [
    entry.name
    for entry in schedules.registry.entries()
    if "warmup_steps" in entry.options and entry.module.startswith("harness.")
]
FALLING = sorted({*WARMED_UP} - {"cosine_restarts"})


@pytest.mark.parametrize("name", WARMED_UP)
def test_warm_up_is_linear_to_the_peak(name: str) -> None:
    at = schedule(name, 100, warmup_steps=4, **GIVEN.get(name, {}))
    assert [at(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert at(4) == pytest.approx(1.0)


def test_cosine_corners() -> None:
    at = schedule("cosine", 101, floor=0.1)
    assert at(0) == 1.0
    assert at(50) == pytest.approx(0.55)
    assert at(100) == pytest.approx(0.1)
    assert at(101) == at(10_000) == at(100)


def test_cosine_is_the_closed_form_after_warm_up() -> None:
    at = schedule("cosine", 70, warmup_steps=20, floor=0.05)
    for step in range(20, 70):
        assert at(step) == pytest.approx(0.05 + 0.95 * (1 + math.cos(math.pi * (step - 20) / 49)) / 2)


def test_cosine_falls_to_nothing_with_a_floor_of_zero() -> None:
    assert schedule("cosine", 11, floor=0.0)(10) == pytest.approx(0.0, abs=1e-15)


@given(st.sampled_from(WARMED_UP), st.integers(1, 500), st.integers(0, 600), st.integers(0, 2000))
def test_every_schedule_is_a_share_of_the_peak(name: str, total: int, warmup: int, step: int) -> None:
    at = schedule(name, total, warmup_steps=warmup, **GIVEN.get(name, {}))
    assert 0 <= at(step) <= 1
    if step > warmup and name in FALLING:
        assert at(step) <= at(step - 1) + 1e-12


def test_sgd_is_its_formula() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = optimizers.registry["sgd"].function([{"params": [weight], "weight_decay": 0.1}], 0.5, momentum=0.9)
    expected, velocity = weight.detach().clone(), torch.zeros(1, 2)
    for gradient in (torch.tensor([[0.3, 0.1]]), torch.tensor([[-0.2, 0.4]])):
        weight.grad = gradient
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.1 * expected
        expected = expected - 0.5 * velocity
    assert torch.allclose(weight, expected)


def test_adamw_is_its_formula() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    options = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6}
    optimizer = optimizers.registry["adamw"].function([{"params": [weight], "weight_decay": 0.1}], 0.5, **options)
    expected, mean, square = weight.detach().clone(), torch.zeros(1, 2), torch.zeros(1, 2)
    for step, gradient in enumerate((torch.tensor([[0.3, 0.1]]), torch.tensor([[-0.2, 0.4]])), start=1):
        weight.grad = gradient
        optimizer.step()
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.95 * square + 0.05 * gradient**2
        direction = (mean / (1 - 0.8**step)) / ((square / (1 - 0.95**step)).sqrt() + 1e-6)
        expected = expected - 0.5 * 0.1 * expected - 0.5 * direction
    assert torch.allclose(weight, expected, atol=1e-6)


IMPLEMENTATIONS = [
    (entry.name, option)
    for entry in optimizers.registry.entries()
    for option in ("fused", "foreach")
    if entry.module.startswith("harness.")  # no plug-in of another test
    and option in entry.options
    and all(importlib.util.find_spec(package) for package in entry.facts.requires)
]


@pytest.mark.parametrize(("name", "option"), IMPLEMENTATIONS)
def test_the_implementation_asked_for_is_the_one_that_runs(name: str, option: str) -> None:
    for asked in (True, False):
        choice = Choice(name=name, options={option: asked})
        optimizer, _ = build_optimizer(model(), RECIPE.model_copy(update={"optimizer": choice}), 10)
        assert {group[option] for group in optimizer.param_groups} == {asked}


@pytest.mark.parametrize(
    ("registry", "name", "options"),
    [
        (optimizers.registry, "adamw", {"beta1": 1.0}),
        (optimizers.registry, "adamw", {"beta2": -0.1}),
        (optimizers.registry, "adamw", {"eps": 0}),
        (optimizers.registry, "adamw", {"momentum": 0.9}),
        (optimizers.registry, "sgd", {"momentum": 1.5}),
        (optimizers.registry, "sgd", {"nesterov": "perhaps"}),
        (schedules.registry, "cosine", {"floor": 2.0}),
        (schedules.registry, "cosine", {"warmup_steps": -1}),
        (schedules.registry, "constant", {"floor": 0.1}),
    ],
)  # fmt: skip
def test_wrong_options_are_found_before_anything_starts(registry, name, options) -> None:  # type: ignore[no-untyped-def]
    assert len(registry[name].check(options, "suite.toml", name)) == 1


@pytest.mark.parametrize(
    ("registry", "name", "options"),
    [
        (optimizers.registry, "adamw", {"beta1": 0.0, "beta2": 0.99, "eps": 1e-6, "fused": True}),
        (optimizers.registry, "sgd", {"momentum": 0.0, "nesterov": False, "foreach": None}),
        (schedules.registry, "cosine", {"floor": 0, "warmup_steps": 10}),
    ],
)
def test_right_options_pass(registry, name, options) -> None:  # type: ignore[no-untyped-def]
    assert registry[name].check(options, "suite.toml", name) == []


def test_matrices_decay_and_norms_and_biases_do_not() -> None:
    network = model()
    decayed, rest = decay_groups(network, 0.5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "1.weight", "4.weight"]
    assert [names[id(p)] for p in rest["params"]] == ["1.bias", "2.weight", "2.bias", "4.bias"]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.5, 0.0)


def test_without_gradients_only_decayed_parameters_shrink() -> None:
    network = nn.Linear(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer, _ = build_optimizer(network, RECIPE, 10)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(network.weight, before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(network.bias, before["bias"])


def test_frozen_parameters_are_not_trained_and_empty_groups_are_left_out() -> None:
    network = model()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    (group,) = decay_groups(network, 0.5)
    assert all(parameter.ndim == 1 for parameter in group["params"])


def test_the_schedule_multiplies_the_peak() -> None:
    recipe = RECIPE.model_copy(update={"schedule": Choice(name="cosine", options={"warmup_steps": 2, "floor": 0.5})})
    optimizer, steps = build_optimizer(model(), recipe, 6)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        steps.step()
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.0875, 0.0625, 0.05, 0.05, 0.05])


def test_group_facts_count_parameters() -> None:
    optimizer, _ = build_optimizer(model(), RECIPE, 10)
    assert group_facts(optimizer) == {"decayed_parameters": 20 + 12 + 6, "undecayed_parameters": 3 + 6 + 2}
    undecayed, _ = build_optimizer(model(), RECIPE.model_copy(update={"weight_decay": 0.0}), 10)
    assert group_facts(undecayed) == {"decayed_parameters": 0, "undecayed_parameters": 49}


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """One process that takes itself for rank 0 of two: sharding without a second process."""
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two_ranks")
def test_a_sharded_model_has_the_same_groups() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    network = model()
    fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    optimizer, _ = build_optimizer(network, RECIPE, 10)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert all(isinstance(parameter, DTensor) for parameter in held)
    assert sum(parameter.to_local().numel() for parameter in held) < 40
    assert group_facts(optimizer) == {"decayed_parameters": 38, "undecayed_parameters": 11}
