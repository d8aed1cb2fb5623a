"""What each step left, read back from the device once the clock stands, into the rank's series."""

from __future__ import annotations

import math

import torch
from torch.distributed.tensor import DTensor

from harness.measure.loop import Laps
from harness.measure.training import Training
from harness.schema.record import RankResult, Status


class Diverged(Exception):
    """The loss is no longer finite."""

    status = Status.DIVERGED


def keep_series(laps: Laps, training: Training, result: RankResult, timed: bool) -> None:
    """Read the new losses and norms back from the device into the result. Raises Diverged at one that is not finite.

    loss: of the data alone; penalty: the whole of all penalties on the weights, where the recipe has any.
    """
    series = result.series
    done = len(series.get("step", []))
    outcomes = training.outcomes[done:]
    own = torch.stack([outcome.loss for outcome in outcomes])
    loss = (training.wrapped.whole_loss(own) if training.wrapped.whole_loss else own).double().tolist()
    columns: dict[str, list[float | None]] = {
        "step": [float(done + number) for number in range(1, len(outcomes) + 1)],
        "timed": [float(timed)] * len(outcomes),
        "loss": [value if math.isfinite(value) else None for value in loss],
        "grad_norm": [_norm(outcome.grad_norm) for outcome in outcomes],
        "lr": [outcome.lr for outcome in outcomes],
        "step_s": [*laps.step_s[done:]],
        "cpu_s": [*laps.cpu_s[done:]],
    }
    if training.scales:
        columns["loss_scale"] = [*training.scales[done:]]
    parts = [outcome.penalty for outcome in outcomes if outcome.penalty is not None]
    if parts:
        columns["penalty"] = training.added_up(torch.stack(parts)).double().tolist()
    for name, values in columns.items():
        series.setdefault(name, []).extend(values)
    finite = series["loss"]
    if training.progress is not None:
        training.progress.know(finite)
    if training.anywhere(None in finite):
        step = finite.index(None) + 1 if None in finite else len(finite)
        last = finite[step - 2] if step > 1 else None
        raise Diverged(f"loss is not finite at step {step}; last finite loss {last}")


def _norm(norm: torch.Tensor | None) -> float | None:
    if norm is None:
        return None
    value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    return value if math.isfinite(value) else None


def overflow_steps(initial: float, scales: list[float]) -> list[int]:
    """Steps (1-based) whose gradients overflowed and whose update gradient scaling left out: the scale fell after them.

    initial: the scale before the first step; scales: after each step.
    """
    before = [initial, *scales]
    return [step for step, scale in enumerate(scales, start=1) if scale < before[step - 1]]
