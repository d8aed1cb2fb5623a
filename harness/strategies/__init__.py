"""Strategies: HOW a step is executed. One function per file, model in, `Wrapped` out; it must not change the maths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.schema.registry import Registry
from harness.strategies.setting import ModelFacts, Requirements, Setting, Unsupported

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.amp import GradScaler
    from torch.nn import Parameter
    from torch.optim import Optimizer

    from harness.machine.device import Device

    Batch: TypeAlias = tuple[Tensor, ...]
    Loss: TypeAlias = Callable[[nn.Module, Batch], Tensor]
    Scale: TypeAlias = Callable[[Tensor], Tensor]
    Autocast: TypeAlias = Callable[[], AbstractContextManager[Any]]

Equivalence = Literal["exact", "reordered", "approximate"]
Layout = Literal["whole", "some", "sharded", "flat"]
Groups: TypeAlias = list[dict[str, Any]]
Construct: TypeAlias = "Callable[[Groups], Optimizer]"


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
    backward: (scaled loss) → None, where an engine runs the backward pass; forward_backward: (batch, loss of a model
    and a batch, loss → scaled loss, autocast) → detached loss, where the strategy runs forward and backward of a
    micro-batch in a way of its own; observed: facts that only the strategy can read from its live objects; untracked:
    why PyTorch's memory tracker does not see all tensors, or None; unseen: why not all that is communicated passes
    PyTorch's process groups, or None; total_norm: parameters → L2 norm of the whole gradient, where the ranks' own do
    not tell it; update: (largest norm or None) → norm before clipping or None, where an engine clips, updates and
    clears the gradients itself; whole_loss: losses of steps as this rank knows them → as they are, off the clock,
    where not every rank sees them; scaler: takes what torch's GradScaler takes, where one rank's gradients do not
    tell whether the whole overflowed; held: what this rank holds of the model, where it is not all; standing: tensors
    that live from step to step outside of model and optimizer; dropout_stream: added to the seed of dropout, where
    ranks with the same data must draw different masks; blended: why forward and backward cannot be timed apart or None.
    """

    model: nn.Module
    sync: Callable[[bool], AbstractContextManager[Any]] = _always
    expected: dict[str, Any] = field(default_factory=dict)
    equivalence: Equivalence | None = None
    optimizer: Callable[[Groups, Construct], Optimizer] | None = None
    backward: Callable[[Tensor], None] | None = None
    forward_backward: Callable[[Batch, Loss, Scale, Autocast], Tensor] | None = None
    observed: Callable[[], dict[str, Any]] | None = None
    untracked: str | None = None
    unseen: str | None = None
    total_norm: Callable[[Sequence[Parameter]], Tensor] | None = None
    update: Callable[[float | None], Tensor | None] | None = None
    whole_loss: Callable[[Tensor], Tensor] | None = None
    scaler: Callable[..., GradScaler] | None = None
    held: nn.Module | None = None
    standing: Callable[[], Sequence[Tensor]] | None = None
    dropout_stream: int = 0
    blended: str | None = None


__all__ = [
    "Equivalence",
    "Layout",
    "ModelFacts",
    "Place",
    "Requirements",
    "Setting",
    "StrategyFacts",
    "Unsupported",
    "Wrapped",
]

registry: Registry[StrategyFacts] = Registry("strategy", "harness.strategies", StrategyFacts, "harness.strategies")
register = registry.register
