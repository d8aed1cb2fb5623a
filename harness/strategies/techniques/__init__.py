"""Techniques: changes to the model's execution on top of a strategy, applied before it in the order given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.schema.registry import Registry
from harness.strategies import Equivalence, Requirements

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TechniqueFacts(Requirements):
    """What planning must know of a technique."""

    equivalence: Equivalence = "exact"
    unpredicted: str | None = None
    """why what it keeps in memory cannot be predicted from the operations of the model; None: it can"""
    source: str = ""


@dataclass(frozen=True)
class Adapted:
    """What a technique did to the model.

    expected: facts that must be seen on the live objects; inputs: what is done to each floating-point tensor of a batch
    on the device (None: nothing); observed: facts that only the technique can read; untracked: why PyTorch's memory
    tracker does not see all tensors, or None.
    """

    expected: dict[str, Any] = field(default_factory=dict)
    inputs: Callable[[Tensor], Tensor] | None = None
    observed: Callable[[], dict[str, Any]] | None = None
    untracked: str | None = None


techniques: Registry[TechniqueFacts] = Registry(
    "technique", "harness.strategies.techniques", TechniqueFacts, "harness.techniques"
)
