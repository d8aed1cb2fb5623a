"""What every registered workload promises, checked at its smallest size. A new workload is tested by being there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.recipes.build import build_optimizer
from harness.schema.metrics import metric
from harness.workloads import Workload, registry
from harness.workloads.order import sample_indices

NAMES = [entry.name for entry in registry.entries() if entry.module.startswith("harness.workloads.")]
SIZES = [(name, size) for name in NAMES for size in registry[name].facts.sizes]
each_workload = pytest.mark.parametrize("name", NAMES)

PUBLISHED: dict[tuple[str, str], int | float] = {
    ("gpt", "small"): 124_439_808,
    ("gpt", "medium"): 354_823_168,
    ("gpt", "large"): 774_030_080,
    ("gpt", "xl"): 1_557_611_200,
    ("qa", "tiny"): 4.4e6,
    ("qa", "small"): 28.5e6,
    ("qa", "medium"): 41.1e6,
    ("qa", "base"): 109e6,
    ("qa", "large"): 334e6,
    ("resnet", "18"): 11.2e6,
    ("resnet", "50"): 23.5e6,
    ("resnet", "101"): 42.5e6,
    ("resnet", "152"): 58.2e6,
    ("translation", "base"): 64e6,
    ("translation", "big"): 216e6,
    ("deepspeech", "5x800"): 41_187_968,
    ("wavenet", "30"): 43.3e6,
    ("efficientnet", "b0"): 4.02e6,
    ("efficientnet", "b3"): 10.71e6,
    ("efficientnet", "b7"): 63.81e6,
    ("mnist1d", "cnn"): 5210,
    ("mnist1d", "logistic"): 410,
    ("mnist1d", "gru"): 5134,
}
"""parameters: exact ones as int, rounded ones as float"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    built.cache_clear()
    torch.set_num_threads(threads)


@cache
def built(name: str) -> Workload:
    workload: Workload = registry[name].function(smallest(name))
    return workload


def smallest(name: str) -> str:
    return next(iter(registry[name].facts.sizes))


def model_of(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return built(name).build()


def batch_of(name: str, step: int = 0, samples: int = 16, seed: int = 0) -> tuple[Tensor, ...]:
    train = built(name).train
    indices = torch.from_numpy(sample_indices(seed, step, samples, len(train[0])))
    return tuple(tensor[indices] for tensor in train)


def untaught(model: nn.Module) -> list[str]:
    """Names of the parameters that the last backward pass gave nothing."""
    return [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]


def shared_samples(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> int:
    """Samples whose inputs are in both."""
    kept = {sample.numpy().tobytes() for sample in one[0]}
    return sum(sample.numpy().tobytes() in kept for sample in other[0])


@each_workload
def test_a_step_teaches_every_parameter_and_moves_it(name: str) -> None:
    model, recipe = model_of(name), registry[name].facts.recipe_for(smallest(name))
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    optimizer, _ = build_optimizer(model, recipe, 30)
    loss = built(name).loss(model, batch_of(name))
    assert loss.shape == ()
    assert bool(loss.isfinite())
    loss.backward()  # type: ignore[no-untyped-call]
    assert untaught(model) == []
    optimizer.step()
    assert [key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])] == []


@each_workload
def test_a_dead_parameter_would_be_noticed(name: str) -> None:
    model = model_of(name)
    model.register_parameter("dead", nn.Parameter(torch.zeros(3)))
    built(name).loss(model, batch_of(name)).backward()  # type: ignore[no-untyped-call]
    assert untaught(model) == ["dead"]


def losses(name: str, steps: int = 30, learns: bool = True) -> list[float]:
    """The loss of the same samples before each step: where samples are of different lengths, batches differ as such."""
    model, recipe = model_of(name), registry[name].facts.recipe_for(smallest(name))
    optimizer, schedule = build_optimizer(model, recipe, steps)
    seen = []
    for step in range(steps):
        with torch.no_grad():
            seen.append(built(name).loss(model, batch_of(name)).item())
        loss = built(name).loss(model, batch_of(name, step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if learns:
            optimizer.step()
            schedule.step()
    return seen


def fell(series: list[float]) -> bool:
    return sum(series[-5:]) < 0.9 * sum(series[:5])


@each_workload
def test_the_loss_falls_within_thirty_steps(name: str) -> None:
    assert fell(losses(name))
    assert not fell(losses(name, learns=False)), "the loss falls without learning: the check says nothing"


@each_workload
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    assert losses(name, 3) == losses(name, 3)


@each_workload
def test_the_loss_is_the_mean_over_samples(name: str) -> None:
    model, workload, batch = model_of(name).eval(), built(name), batch_of(name, samples=4)
    with torch.no_grad():
        each = [workload.loss(model, tuple(tensor[[i]] for tensor in batch)).item() for i in range(4)]
        assert workload.loss(model, batch).item() == pytest.approx(sum(each) / 4, rel=1e-5)


@each_workload
def test_evaluation_gives_sums_and_counts_of_the_declared_metric(name: str) -> None:
    model, workload, facts = model_of(name).eval(), built(name), registry[name].facts
    metric(f"eval_{facts.metric}")
    with torch.no_grad():
        whole = workload.evaluate(model, tuple(tensor[:8] for tensor in workload.held_out))
        parts = [
            workload.evaluate(model, tuple(tensor[part] for tensor in workload.held_out))
            for part in (slice(0, 3), slice(3, 8))
        ]
    predictions = workload.predictions
    assert facts.metric in whole or (predictions is not None and predictions.always), "the metric at every evaluation"
    for key, (total, count) in whole.items():
        metric(f"eval_{key}")
        assert count > 0
        assert float(total) == pytest.approx(sum(float(part[key][0]) for part in parts), rel=1e-5)
        assert count == sum(part[key][1] for part in parts)


@each_workload
def test_predictions_are_scored_whatever_the_batches(name: str) -> None:
    model, workload, facts = model_of(name).eval(), built(name), registry[name].facts
    if workload.predictions is None:
        return
    with torch.no_grad():
        found = [
            workload.predictions.score(
                [
                    workload.predictions.predict(model, tuple(tensor[part] for tensor in workload.held_out))
                    for part in parts
                ]
            )
            for parts in ([slice(0, 8)], [slice(0, 3), slice(3, 8)])
        ]
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6)
    assert all(isinstance(value, float) for value in found[0].values())
    assert facts.metric in found[0] or not workload.predictions.always


@each_workload
def test_trivial_predictors_miss_the_target(name: str) -> None:
    facts = registry[name].facts
    assert built(name).trivial
    assert set(facts.targets) <= set(facts.sizes)
    for size in facts.sizes:
        target = facts.target_for(size)
        for value in built(name).trivial.values():
            assert value > target if facts.better == "lower" else value < target


@each_workload
def test_data_are_the_same_each_time(name: str) -> None:
    again: Workload = registry[name].function(smallest(name))
    first = built(name)
    assert again.data_hash == first.data_hash
    assert len(first.data_hash) == 64
    for one, other in zip((*first.train, *first.held_out), (*again.train, *again.held_out), strict=True):
        assert torch.equal(one, other)


@each_workload
def test_no_sample_is_both_trained_on_and_held_out(name: str) -> None:
    workload = built(name)
    assert shared_samples(workload.train, workload.held_out) == 0
    leaked = tuple(
        torch.cat((train, held_out[:2])) for train, held_out in zip(workload.train, workload.held_out, strict=True)
    )
    assert shared_samples(leaked, workload.held_out) == 2, "a leak would not be noticed"


@each_workload
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    one, same, other = (list(model_of(name, seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@each_workload
def test_repeated_layers_are_named_and_there(name: str) -> None:
    blocks = [module for module in model_of(name).modules() if isinstance(module, built(name).blocks)]
    assert len(blocks) >= 2


@each_workload
def test_defaults_are_complete_and_divide_over_two_ranks(name: str) -> None:
    facts = registry[name].facts
    for size in facts.sizes:
        assert all(value is not None for _, value in facts.recipe_for(size))
    assert facts.global_batch % (2 * facts.micro_batch) == 0
    assert min(built(name).units_of(np.array([number])) for number in range(len(built(name).train[0]))) > 0
    assert len(built(name).held_out[0]) >= 32
    assert facts.source
    assert facts.licence


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_every_size_builds_without_memory(name: str, size: str) -> None:
    workload: Workload = registry[name].function(size)
    with torch.device("meta"):
        model = workload.build()
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if (name, size) in PUBLISHED:
        published = PUBLISHED[name, size]
        assert parameters == pytest.approx(published, rel=0.01 if isinstance(published, float) else 0)
    else:
        assert parameters < 5e6, "no published figure, and too large for a CPU"


def test_all_published_sizes_are_there() -> None:
    assert set(PUBLISHED) <= set(SIZES)


def fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PARENT = """
import sys
from harness.recipes import optimizers, schedules
from harness.workloads import registry
assert registry["gpt"].facts.recipe_for("nano") and registry["resnet"].check({}, "", "") == []
assert optimizers.registry.names() and schedules.registry.names()
"""
FOUND = "print(*sorted({'torch', 'sklearn'} & set(sys.modules)))"


def test_planning_imports_neither_torch_nor_sklearn() -> None:
    assert fresh(PARENT + FOUND) == ""


def test_a_warm_cache_needs_no_sklearn_and_building_needs_torch() -> None:
    built("resnet")
    assert fresh(PARENT + "registry['resnet'].function('nano');" + FOUND) == "torch"
