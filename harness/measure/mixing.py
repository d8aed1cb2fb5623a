"""Samples mixed before the model sees them (mixup): by position in the global batch, whatever rank has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from harness.workloads import Batch


def mixed(batch: Batch, partners: Batch, share: Tensor, classes: int) -> Batch:
    """share·x + (1 − share)·x' of inputs (n, …), and of labels (n,) as probabilities of the classes (n, classes).

    batch, partners: (inputs, labels) on the device; share: (n,), of the sample itself. Each sample by itself: nothing
    depends on what else is in the micro-batch.
    """
    (inputs, labels), (others, other_labels) = batch, partners
    share = share.to(inputs.device)
    own, other = (functional.one_hot(each, classes).to(torch.float32) for each in (labels, other_labels))
    return _between(inputs, others, share), _between(own, other, share)


def _between(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    one, other = (each if each.is_floating_point() else each.float() for each in (one, other))
    weight = share.to(one.dtype).view(-1, *(1,) * (one.ndim - 1))
    return torch.lerp(other, one, weight)
