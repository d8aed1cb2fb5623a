"""Read this file first: what one training step is, and what is timed.

    warm-up                          timed window                       off the clock
    ├─ first steps: applied facts,   ├─ barrier, device idle            ├─ evaluation (also pauses the window)
    │  loss and gradient norm        ├─ step, stamp, step, stamp, …     ├─ monitors' own steps: phases, memory
    └─ until steady                  └─ device idle                     └─ record

A step is an optimizer step: all micro-batches, the wait for their data, penalties, clipping, update and schedule.
Nothing in the window reads a value back from the device: losses and norms stay where they are until the window is
closed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from harness.measure.training import Training
    from harness.workloads import Batch


@dataclass(frozen=True)
class Outcome:
    """What a step leaves: this rank's mean loss, the whole gradient's L2 norm (None: not taken), the learning rate.

    penalty: this rank's part of the penalties on the weights, which are not in the loss; None: the recipe has none.
    """

    loss: Tensor
    grad_norm: Tensor | None
    lr: float
    penalty: Tensor | None = None


def _unmarked(_phase: str) -> None:
    """Nobody asked for the parts of the step."""


def train_step(
    training: Training, batches: Iterable[Batch], share: float, mark: Callable[[str], None] = _unmarked
) -> Outcome:
    """One optimizer step: forward and backward of each micro-batch, then penalties, clip, update, schedule.

    batches: this rank's micro-batches, fetched while the step runs; share: 1 ÷ their number, so that gradients are
    of the mean loss; mark: called with the name of each part as it ends (data_wait, forward, backward, optimizer;
    forward_backward where the strategy runs both in a way of its own).
    """
    last = training.passes - 1
    total: Tensor | None = None
    for number, batch in enumerate(batches):
        mark("data_wait")
        with training.sync(number == last):
            loss = forward_backward(training, batch, share, mark)
        total = loss * share if total is None else total + loss * share
    assert total is not None
    lr = float(training.schedule.get_last_lr()[0])
    grad_norm, penalty = update(training)
    training.schedule.step()
    mark("optimizer")
    return Outcome(total, grad_norm, lr, penalty)


def update(training: Training) -> tuple[Tensor | None, Tensor | None]:
    """Penalise, clip, update, clear the gradients; returns their norm before clipping, where it was taken, and the
    penalties.
    """
    own = training.wrapped.update
    if own is not None:
        return own(training.largest_norm), None
    penalty = training.penalise()
    grad_norm = training.clip()
    training.scaler.step(training.optimizer)
    training.scaler.update()
    training.optimizer.zero_grad(set_to_none=True)
    if training.average is not None:
        training.average.update()
    return grad_norm, penalty


def forward_backward(training: Training, batch: Batch, share: float, mark: Callable[[str], None]) -> Tensor:
    """Forward and backward of one micro-batch; gradients are added up, the detached loss is returned."""
    own = training.wrapped.forward_backward
    if own is not None:
        loss = own(batch, training.workload.loss, lambda value: training.scaler.scale(value * share), training.autocast)
        mark("forward_backward")
        return loss
    with training.autocast():
        loss = training.workload.loss(training.model, batch)
    mark("forward")
    scaled = training.scaler.scale(loss * share)
    if training.wrapped.backward is not None:
        training.wrapped.backward(scaled)
    else:
        scaled.backward()  # type: ignore[no-untyped-call]
    mark("backward")
    return loss.detach()


@dataclass
class Laps:
    """Steps one after another under the clock. step_s, cpu_s: per step; wall_s: from device idle to device idle."""

    step_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0

    def __iadd__(self, other: Laps) -> Laps:
        self.step_s += other.step_s
        self.cpu_s += other.cpu_s
        self.wall_s += other.wall_s
        return self


def run_laps(training: Training, count: int) -> Laps:
    """Train `count` steps under the clock: all ranks start together, a stamp after each step, then wait for the device.

    CPU seconds are those of all threads of this process. Progress is told after a step's stamps: one look at the clock,
    and four times a second a write to memory.
    """
    device, progress = training.device, training.progress
    training.barrier()
    device.synchronize()
    if progress is not None:
        progress.go_on()
    began = time.perf_counter()
    stamps: list[Any] = [device.stamp()]
    cpu = [time.process_time_ns()]
    for _ in range(count):
        outcome = training.step()
        stamps.append(device.stamp())
        cpu.append(time.process_time_ns())
        if progress is not None:
            progress.step(training.steps_done, outcome.loss)
    device.synchronize()
    wall_s = time.perf_counter() - began
    cpu_s = [(after - before) * 1e-9 for before, after in itertools.pairwise(cpu)]
    return Laps(device.seconds_between(stamps), cpu_s, wall_s)
