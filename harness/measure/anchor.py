"""The anchor: a fixed piece of arithmetic, timed beside what is measured, that two sessions have in common.

There are two: `small_step` for processes that train, `arithmetic` where torch may not be. What a crowded machine does
to CPU time depends on the work, so an anchor must be like it: over 28 rounds at loads of 9 to 14 on 2 cores the CPU
seconds of a step of gpt/nano ÷ those of `arithmetic` differed by 9 %, ÷ those of `small_step` by 3 % (resnet/nano: 12
and 7 %).

Their code must never change: figures of before and after would be held against different things.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

NUMBERS = 8192
"""64 KiB: it stays in a core's own cache."""
PASSES = 60
TURNS_OF_PYTHON = 30_000
SIDE = 256
"""Of the matrices of the small step."""
LAPS = 9
"""Of which the median is taken: one alone may be interrupted."""


def arithmetic() -> float:
    """About 2 ms on one core: elementary functions over an array, a loop of the interpreter. No BLAS, no threads."""
    values = np.linspace(0.5, 1.5, NUMBERS)
    for _ in range(PASSES):
        values = np.sqrt(np.exp(values) * 0.3 + 0.5)
    total = 0
    for number in range(TURNS_OF_PYTHON):
        total += number & 7
    return float(values.sum()) + total


def small_step() -> Callable[[], Tensor]:
    """A training step in plain PyTorch, of about 2 ms on one core: two matrix products and a GELU, back, an update."""
    import torch

    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(SIDE, SIDE, generator=draw).requires_grad_()
    batch = torch.randn(SIDE, SIDE, generator=draw)

    def step() -> Tensor:
        loss = (torch.nn.functional.gelu(batch @ weight) @ weight).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        with torch.no_grad():
            weight.sub_(weight.grad, alpha=1e-6)
        weight.grad = None
        return loss.detach()

    return step


@dataclass(frozen=True)
class Seconds:
    """Of the same work: wall, and CPU of all threads of this process."""

    wall: float
    cpu: float


def lap(work: Callable[[], object]) -> Seconds:
    """The seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time_ns()
    work()
    return Seconds(time.perf_counter() - wall, (time.process_time_ns() - cpu) * 1e-9)


def anchor(laps: int = LAPS, work: Callable[[], object] = arithmetic) -> list[Seconds]:
    """The seconds of so many calls."""
    return [lap(work) for _ in range(laps)]


def median(laps: list[Seconds]) -> Seconds:
    """Of wall and of CPU seconds, each for itself."""
    return Seconds(statistics.median(each.wall for each in laps), statistics.median(each.cpu for each in laps))


@dataclass(frozen=True)
class Round:
    """What one round of fresh processes took: the work, and the anchor in turn with it."""

    work: Seconds
    anchor: Seconds
