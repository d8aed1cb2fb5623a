"""`optimizer.step()` of every registered optimizer, on the parameters of gpt/nano with gradients filled.

The learning rate is tiny: what is timed is arithmetic, and the weights must stay finite over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_steps import planned
from benchmarks.rounds import BLOCK, Arm, fresh_round
from harness.measure.anchor import Seconds, lap
from harness.recipes.optimizers import registry

if TYPE_CHECKING:
    from harness.measure.training import Training

LR, GRADIENT = 1e-6, 1e-2


def update(training: Training) -> Mapping[str, Arm]:
    """Before each step, off the clock, gradients are drawn anew: those of optimizers that look back must differ."""
    import torch

    trained = [parameter for parameter in training.model.parameters() if parameter.requires_grad]

    def turn() -> list[Seconds]:
        laps = []
        for _ in range(BLOCK):
            for parameter in trained:
                parameter.grad = torch.randn_like(parameter) * GRADIENT
            laps.append(lap(training.optimizer.step))
        return laps

    return {"work": turn}


@pytest.mark.benchmark(group="optimizer.step()")
@pytest.mark.parametrize("optimizer", registry.names())
def bench_optimizer(fresh_rounds: Callable[..., Any], optimizer: str) -> None:
    """Seconds of an update of all parameters."""
    recipe = {"optimizer": optimizer, "lr": LR, "schedule": "constant", "weight_decay": 0.0}
    trial = planned("gpt", "single", recipe=recipe)
    fresh_rounds(lambda: fresh_round(trial, update))
