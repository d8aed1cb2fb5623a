"""Strategies: HOW a step is executed. One function per file, model in, `Wrapped` out; it must not change the maths."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.schema.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from harness.machine.device import Device

    Batch: TypeAlias = tuple[Tensor, ...]
    Loss: TypeAlias = Callable[[nn.Module, Batch], Tensor]
    Scale: TypeAlias = Callable[[Tensor], Tensor]
    Autocast: TypeAlias = Callable[[], AbstractContextManager[Any]]

Equivalence = Literal["exact", "reordered", "approximate"]
Groups: TypeAlias = list[dict[str, Any]]
Construct: TypeAlias = "Callable[[Groups], Optimizer]"


@dataclass(frozen=True)
class StrategyFacts:
    """What planning must know of a strategy without running it.

    processes: one process, or one per device; min_devices: fewer are impossible; equivalence: how near its maths
    is to one process (exact: the same operations; reordered: sums in another order; approximate: other roundings);
    accelerators: what it needs at least of devices other than CPU, with the reason in `why`; requires: packages.
    """

    processes: Literal["one", "per_device"] = "one"
    min_devices: int = 1
    equivalence: Equivalence = "exact"
    accelerator_only: str | None = None
    """reason why this cannot run on CPU, shown in the record"""
    impossible: Callable[..., str | None] | None = None
    """(kind of device, devices, **options) → why this combination cannot run, or None"""
    requires: tuple[str, ...] = ()
    shares: Callable[..., int] | None = None
    """(devices, **options) → shares of the CPU's cores per process; None: one"""
    splits_micro_batch: bool = False
    """the one process spreads a forward over all devices, so that its forward takes micro_batch × devices samples"""
    source: str = ""


@dataclass(frozen=True)
class Place:
    """Where a rank runs. blocks: classes of the repeated layers of the model (sharding and checkpointing units)."""

    device: Device
    rank: int = 0
    world_size: int = 1
    devices: int = 1
    blocks: tuple[type[nn.Module], ...] = ()


def _always(_sync: bool) -> AbstractContextManager[Any]:
    from contextlib import nullcontext

    return nullcontext()


@dataclass
class Wrapped:
    """A model made ready by a strategy.

    model: what is called and whose parameters are trained; sync: (last micro-batch?) → context around forward and
    backward, which keeps gradients local until the last micro-batch; expected: facts that must be seen on the live
    objects (see measure/applied); equivalence: where options make it looser than the strategy's class; optimizer:
    (parameter groups, groups → plain optimizer) → the optimizer, where the strategy has one of its own;
    forward_backward: (batch, loss of a model and a batch, loss → scaled loss, autocast) → detached loss, where the
    strategy runs forward and backward of a micro-batch in a way of its own; observed: facts that only the strategy
    can read from its live objects; untracked: why PyTorch's memory tracker does not see all tensors, or None.
    """

    model: nn.Module
    sync: Callable[[bool], AbstractContextManager[Any]] = _always
    expected: dict[str, Any] = field(default_factory=dict)
    equivalence: Equivalence | None = None
    optimizer: Callable[[Groups, Construct], Optimizer] | None = None
    forward_backward: Callable[[Batch, Loss, Scale, Autocast], Tensor] | None = None
    observed: Callable[[], dict[str, Any]] | None = None
    untracked: str | None = None


registry: Registry[StrategyFacts] = Registry("strategy", "harness.strategies", StrategyFacts, "harness.strategies")
register = registry.register
