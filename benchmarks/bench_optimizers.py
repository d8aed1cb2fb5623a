"""`optimizer.step()` of every registered optimizer, on the parameters of gpt/nano with gradients filled.

The learning rate is tiny: what is timed is arithmetic, and the weights must stay finite over all steps. The anchor is
an update written out here: it moves as many bytes, and a crowded machine slows that down more than matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_steps import planned
from benchmarks.rounds import BLOCK, Arm, fresh_round
from harness.measure.anchor import Seconds, lap
from harness.recipes.optimizers import registry

if TYPE_CHECKING:
    from torch import Tensor

    from harness.measure.training import Training

LR, GRADIENT = 1e-6, 1e-2


def update(training: Training) -> Mapping[str, Arm]:
    """Before each update, off the clock, gradients are drawn anew: those of optimizers that look back must differ."""
    import torch

    trained = [parameter for parameter in training.model.parameters() if parameter.requires_grad]

    def turn(work: Callable[[], object]) -> list[Seconds]:
        laps = []
        for _ in range(BLOCK):
            for parameter in trained:
                parameter.grad = torch.randn_like(parameter) * GRADIENT
            laps.append(lap(work))
        return laps

    return {"work": partial(turn, training.optimizer.step), "anchor": partial(turn, plain_update(trained))}


def plain_update(trained: Sequence[Tensor]) -> Callable[[], None]:
    """Adam's update of copies of these parameters, one after the other. It must never change, as any anchor."""
    import torch

    weights = [parameter.detach().clone() for parameter in trained]
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))

    def run() -> None:
        for weight, parameter, mean, square in zip(weights, trained, first, second, strict=True):
            assert parameter.grad is not None
            mean.lerp_(parameter.grad, 0.1)
            square.mul_(0.999).addcmul_(parameter.grad, parameter.grad, value=0.001)
            weight.addcdiv_(mean, square.sqrt().add_(1e-8), value=-LR)

    return run


@pytest.mark.benchmark(group="optimizer.step()")
@pytest.mark.parametrize("optimizer", registry.names())
def bench_optimizer(fresh_rounds: Callable[..., Any], optimizer: str) -> None:
    """Seconds of an update of all parameters."""
    recipe = {"optimizer": optimizer, "lr": LR, "schedule": "constant", "weight_decay": 0.0}
    trial = planned("gpt", "single", recipe=recipe)
    fresh_rounds(lambda: fresh_round(trial, update))
