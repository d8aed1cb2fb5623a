"""What one rank holds of a model, as its strategy states it: what memory is predicted by (see `harness/predict`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

Buckets = Literal["none", "beside", "hold"]


class Unpredicted(Exception):
    """The memory of a cell is not predicted, with the reason: the record has no prediction then, never a wrong one."""


@dataclass(frozen=True)
class Holding:
    """What the rank that holds most keeps of the model that it computes with; left out: all of it, once.

    A strategy whose ranks compute with a part of the model (tensor parallel) makes the model that part first.
    """

    parts: int = 1
    """ranks among which the rows of each parameter, its gradient and its optimizer state are divided; blocks are
    gathered when they are needed"""
    updated: Callable[[Sequence[nn.Parameter]], Sequence[nn.Parameter]] | None = None
    """trained parameters → those whose optimizer state the rank keeps; None: all"""
    buckets: Buckets = "none"
    """gradients are sent in buckets of their size, which stand `beside` them or `hold` them"""
    reshards: bool = True
    """gathered blocks are let go after their forward pass"""
    gathered_dtype: str | None = None
    """torch's name of the type that blocks are gathered and computed in; None: that of the parameters"""
    in_host_memory: bool = False
    """parts, their gradients and optimizer state are not on the device"""
    stages: Sequence[Sequence[nn.Module]] = ()
    """pieces of the model by stage, one stage per rank; empty: each rank computes with the model"""
    waiting: Callable[[int], int] | None = None
    """stage → micro-batches whose activations it keeps at a time"""

    def part_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of what a rank keeps of a parameter: of the rank with most rows, as `torch.chunk` divides them."""
        return (-(-shape[0] // self.parts), *shape[1:]) if len(shape) else ()
