"""FLOPs are counted, not estimated: held against sums by hand, on shapes alone and on real tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.measure import flops
from harness.measure.flops import count, counted, flops_per_sample
from harness.run.executors import local
from harness.workloads import Workload, registry
from harness.workloads.gpt import SIZES
from tests.conftest import PLUGINS, plugins

KINDS = ["meta", "cpu"]


def toy(build: Any, x: torch.Tensor, loss: Any = None) -> Workload:
    return Workload(
        build=build,
        train=(x,),
        held_out=(x[:4],),
        loss=loss or (lambda model, batch: model(batch[0]).square().mean()),
        evaluate=lambda model, batch: {},
    )


def mlp() -> Workload:
    return toy(lambda: nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4)), torch.randn(8, 16))


def mlp_by_hand() -> int:
    """2 per product and addition: forward and gradient of weights of both layers, of inputs but for the first's."""
    first, second = 2 * 16 * 32, 2 * 32 * 4
    return 2 * first + 3 * second


@pytest.mark.parametrize("kind", KINDS)
def test_linear_layers_are_counted_exactly(kind: str) -> None:
    assert counted(mlp(), kind) == mlp_by_hand()


def gpt_by_hand(size: str, positions: int, vocabulary: int) -> int:
    """A GPT's matrix products of one sample: forward, gradients of weights, gradients of inputs, each as much."""
    layers, width = SIZES[size]["layers"], SIZES[size]["width"]
    linear = 4 * width * width + 2 * 4 * width * width  # q, k, v, o; up, down
    attention = 2 * positions * width  # scores and their mixing of values, over all heads together
    return 3 * 2 * positions * (layers * (linear + attention) + width * vocabulary)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["nano", "micro"])
def test_gpt_is_its_linear_layers_and_attention(size: str, kind: str) -> None:
    workload = registry["gpt"].function(size)
    positions = workload.train[0].shape[1] - 1
    vocabulary = workload.build().readout.head.out_features
    assert counted(workload, kind) == gpt_by_hand(size, positions, vocabulary)


def test_fused_attention_left_out_on_cpu_would_be_seen() -> None:
    """Negative control: the counter as it comes does not know the kernel that a CPU takes."""
    workload = registry["gpt"].function("nano")
    with FlopCounterMode(display=False) as plain:
        workload.loss(workload.build(), tuple(tensor[:2] for tensor in workload.train)).backward()
    assert plain.get_total_flops() / 2 < 0.9 * counted(workload, "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_resnet_is_its_convolutions(kind: str) -> None:
    """Forward by hand from hooks that see real shapes; backward is twice that, but for the first layer's input."""
    workload = registry["resnet"].function("nano")
    forward, first = convolutions_by_hand(workload)
    assert counted(workload, kind) == pytest.approx(3 * forward - first, rel=1e-6)


def convolutions_by_hand(workload: Workload) -> tuple[int, int]:
    seen: list[int] = []

    def convolution(layer: nn.Conv2d, _inputs: Any, output: torch.Tensor) -> None:
        taps = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels // layer.groups
        seen.append(2 * taps * output[0].numel())

    def linear(layer: nn.Linear, _inputs: Any, output: torch.Tensor) -> None:
        seen.append(2 * layer.in_features * layer.out_features)

    model = workload.build()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(convolution)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
    workload.loss(model, tuple(tensor[:2] for tensor in workload.train))
    return sum(seen), seen[0]


def test_model_that_reads_values_is_counted_on_real_tensors() -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        out = model(batch[0])
        return out.square().mean() * (2.0 if float(out.detach().sum()) > 0 else 1.0)

    flops_, place = flops_per_sample(replace(mlp(), loss=loss))
    assert (flops_, place) == (mlp_by_hand(), "cpu")


def test_model_too_large_for_real_tensors_says_what_shapes_did_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return model(batch[0]).sum() * float(batch[0].sum())

    monkeypatch.setattr(flops, "PARAMETERS_AT_MOST", 100)
    with pytest.raises(RuntimeError, match="meta"):
        flops_per_sample(replace(mlp(), loss=loss))


def test_recomputation_is_not_in_the_plain_models_count() -> None:
    """Techniques are left out, so that work done twice counts once; control: a model that does so itself is more."""
    from torch.utils.checkpoint import checkpoint

    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = checkpoint(self.inner, x, use_reentrant=False)
            return out

    x = torch.randn(8, 16)
    once = counted(toy(lambda: Again().inner, x), "cpu")
    assert counted(toy(Again, x), "cpu") == once + 2 * 16 * 16, "the first layer again, whose result the second needs"


def test_what_cannot_be_counted_is_absent_with_the_reason() -> None:
    asked = '{"name": "gpt", "size": "nano", "options": {"context": 3000000}, "plugins": []}'
    assert "flops_per_sample" not in count(asked)
    assert count(asked)["flops_absent"]


@pytest.mark.processes
def test_a_child_counts_and_one_that_dies_costs_the_figure_only() -> None:
    plugins("tiny", "faults")
    tiny = local.count_flops("tiny", "only", {}, [str(PLUGINS / "tiny.py")])
    first, middle, last = 2 * 16 * 32, 2 * 32 * 32, 2 * 32 * 2
    assert tiny == {"flops_per_sample": 2.0 * first + 3.0 * (middle + last), "flops_counted_on": "meta"}
    dead = local.count_flops("kills_itself", "only", {}, [str(PLUGINS / "faults.py")])
    assert dead.keys() == {"flops_absent"}
    assert "exit code -9" in dead["flops_absent"]
