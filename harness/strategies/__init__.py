"""Strategies: HOW a step is executed. One function per file, model in, `Wrapped` out; it must not change the maths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.schema.registry import Registry
from harness.strategies.holding import Holding, Unpredicted
from harness.strategies.setting import ModelFacts, Requirements, Setting, Unsupported
from harness.strategies.wrapped import Construct, Equivalence, Groups, Wrapped

if TYPE_CHECKING:
    from torch import nn

    from harness.machine.device import Device
    from harness.strategies.wrapped import Autocast, Batch, Loss, Scale

Layout = Literal["whole", "some", "sharded", "flat"]


@dataclass(frozen=True)
class StrategyFacts(Requirements):
    """What planning must know of a strategy without running it.

    processes: one process, or one per device; min_devices: fewer are impossible; equivalence: how near its maths
    is to one process (exact: the same operations; reordered: sums in another order; approximate: other roundings).
    """

    processes: Literal["one", "per_device"] = "one"
    min_devices: int = 1
    equivalence: Equivalence = "exact"
    shares: Callable[..., int] | None = None
    """(devices, **options) → shares of the CPU's cores per process; None: one"""
    splits_micro_batch: bool = False
    """the one process spreads a forward over all devices, so that its forward takes micro_batch × devices samples"""
    model_ranks: Callable[..., int] | None = None
    """(devices, **options) → neighbouring ranks that hold one copy of the model together and take the same data;
    None: one"""
    whole_step: bool = False
    """all samples of a rank's step come as one batch, which the strategy cuts into micro-batches itself"""
    builds_on_meta: Callable[..., bool] | None = None
    """(**options) → whether the model is built without memory (meta device), the strategy giving it its weights"""
    updates: Layout = "whole"
    """what a rank's optimizer is given: all parameters, some of them, parts of each as DTensor, or flat parts"""
    computes_in: Callable[..., str | None] | None = None
    """(**options) → name of the precision that the strategy computes in by itself; None: in the trial's"""
    holds: Callable[..., Holding] | None = None
    """(model without memory, place, **options) → what a rank keeps of it; None: memory is not predicted"""
    source: str = ""


@dataclass(frozen=True)
class Place:
    """Where a rank runs, and what is known of the model.

    blocks: classes of the repeated layers (sharding and checkpointing units); model_ranks: neighbouring ranks that hold
    one copy of the model together; accumulation: micro-batches of a rank's step; build: () → the whole model on CPU
    with its initial weights, the same on every rank; autocast: name of torch's dtype that the forward pass runs in.
    """

    device: Device
    rank: int = 0
    world_size: int = 1
    devices: int = 1
    blocks: tuple[type[nn.Module], ...] = ()
    model: ModelFacts = field(default_factory=ModelFacts)
    model_ranks: int = 1
    accumulation: int = 1
    build: Callable[[], nn.Module] | None = None
    autocast: str | None = None

    @property
    def data_rank(self) -> int:
        """Number of this rank's share of the data."""
        return self.rank // self.model_ranks

    @property
    def data_ranks(self) -> int:
        """Shares that the data are divided into."""
        return self.world_size // self.model_ranks


__all__ = [
    "Autocast",
    "Batch",
    "Construct",
    "Equivalence",
    "Groups",
    "Holding",
    "Layout",
    "Loss",
    "ModelFacts",
    "Place",
    "Requirements",
    "Scale",
    "Setting",
    "StrategyFacts",
    "Unpredicted",
    "Unsupported",
    "Wrapped",
]

registry: Registry[StrategyFacts] = Registry("strategy", "harness.strategies", StrategyFacts, "harness.strategies")
register = registry.register
