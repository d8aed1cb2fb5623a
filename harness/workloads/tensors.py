"""A workload of two tensors, inputs and what is to be predicted: the short way to bring a model of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.workloads import Workload

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.workloads import Batch

HELD_OUT = 0.2


def from_tensors(
    build: Callable[[], nn.Module],
    inputs: Tensor,
    targets: Tensor,
    *,
    held_out: float = HELD_OUT,
    units_per_sample: float | Tensor = 1.0,
    blocks: tuple[type[nn.Module], ...] = (),
) -> Workload:
    """Whole numbers (n,) are classes: cross-entropy and `accuracy`. Floating-point targets: mean squared error, `mse`.

    build: () → model from a batch of `inputs` (n, …) to logits (batch, classes), or to values of the targets' shape.
    The samples whose inputs have the lowest sha256 are held out, so that the same inputs are never in both parts,
    whatever their order; a share `held_out` of the different ones. Trivial baselines: most frequent class, mean.
    units_per_sample, blocks: see Workload. Raises ValueError where the tensors do not fit together.
    """
    import torch

    if len(inputs) != len(targets) or len(inputs) < 2 or not 0 < held_out < 1:
        raise ValueError(f"{len(inputs)} inputs, {len(targets)} targets and {held_out=} make no workload")
    digests = [hashlib.sha256(sample.contiguous().numpy().tobytes()).digest() for sample in inputs.cpu()]
    lowest = sorted(set(digests))
    border = lowest[max(1, round(len(lowest) * held_out)) - 1]
    out = torch.tensor([digest <= border for digest in digests])
    train, kept = (inputs[~out], targets[~out]), (inputs[out], targets[out])
    if not len(train[0]):
        raise ValueError("all inputs are the same: nothing is left to train on")
    classes = not targets.is_floating_point()
    content = b"".join(digests) + targets.cpu().contiguous().numpy().tobytes()
    return Workload(
        build=build,
        train=train,
        held_out=kept,
        loss=_cross_entropy if classes else _squared_error,
        evaluate=_accuracy if classes else _mse,
        units_per_sample=units_per_sample if isinstance(units_per_sample, float | int) else units_per_sample[~out],
        blocks=blocks,
        trivial=_majority(train[1], kept[1]) if classes else _mean(train[1], kept[1]),
        data_hash=hashlib.sha256(content).hexdigest(),
        classes=int(targets.max()) + 1 if classes else 0,
    )


def _cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(model(batch[0]).float(), batch[1])


def _accuracy(model: nn.Module, batch: Batch) -> dict[str, tuple[torch.Tensor, int]]:
    return {"accuracy": ((model(batch[0]).argmax(dim=1) == batch[1]).sum(), len(batch[1]))}


def _squared_error(model: nn.Module, batch: Batch) -> Tensor:
    from torch.nn import functional

    return functional.mse_loss(model(batch[0]).float(), batch[1])


def _mse(model: nn.Module, batch: Batch) -> dict[str, tuple[torch.Tensor, int]]:
    return {"mse": (_squared_error(model, batch) * batch[1].numel(), batch[1].numel())}


def _majority(train: Tensor, held_out: Tensor) -> dict[str, float]:
    return {"majority": float((held_out == train.mode().values).double().mean())}


def _mean(train: Tensor, held_out: Tensor) -> dict[str, float]:
    return {"mean": float(((held_out - train.mean(dim=0)) ** 2).double().mean())}
