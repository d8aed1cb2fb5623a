"""The anchor itself: what two sessions of benchmarks have in common. How it drifts is what the machine did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.rounds import BLOCK, Arm, fresh_round
from benchmarks.trials import planned
from harness.measure.anchor import anchor, small_step

if TYPE_CHECKING:
    from harness.measure.training import Training


def itself(_training: Training) -> Mapping[str, Arm]:
    """The anchor as the work, beside the anchor."""
    return {"work": partial(anchor, BLOCK, small_step())}


@pytest.mark.benchmark(group="anchor")
def bench_anchor(fresh_rounds: Callable[..., Any]) -> None:
    """Seconds of the fixed piece of arithmetic in fresh processes."""
    trial = planned("gpt", "single")
    fresh_rounds(lambda: fresh_round(trial, itself))
