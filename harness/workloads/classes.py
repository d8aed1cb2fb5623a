"""What all workloads with a class per sample share: loss, accuracy, and the ranges of the options that regularize."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""a share of what is dropped or smoothed; 0: nothing"""


def cross_entropy(label_smoothing: float = 0.0) -> Callable[[nn.Module, Batch], Tensor]:
    """(model, (inputs, targets)) → mean over samples of −Σ p(class) ln softmax(logits), in fp32.

    targets: indices of classes (n,), or probabilities (n, classes), which mixing two samples gives. label_smoothing s:
    p becomes (1 − s)·p + s ÷ classes.
    Source: https://arxiv.org/abs/1512.00567 (label smoothing)
    """

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        from torch.nn import functional

        inputs, targets = batch
        targets = targets.float() if targets.is_floating_point() else targets
        return functional.cross_entropy(model(inputs).float(), targets, label_smoothing=label_smoothing)

    return loss


def accuracy(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    """Share of the samples whose class has the largest logit."""
    inputs, labels = batch
    return {"accuracy": ((model(inputs).argmax(dim=1) == labels).sum(), len(labels))}
