"""What a strategy makes of a model: the model itself, and where a step differs from that of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.amp import GradScaler
    from torch.nn import Parameter
    from torch.optim import Optimizer

    Batch: TypeAlias = tuple[Tensor, ...]
    Loss: TypeAlias = Callable[[nn.Module, Batch], Tensor]
    Scale: TypeAlias = Callable[[Tensor], Tensor]
    Autocast: TypeAlias = Callable[[], AbstractContextManager[Any]]

Equivalence = Literal["exact", "reordered", "approximate"]
Groups: TypeAlias = list[dict[str, Any]]
Construct: TypeAlias = "Callable[[Groups], Optimizer]"


def _always(_last: bool) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass
class Wrapped:
    """A model made ready by a strategy. Only `model` and `expected` are usual; the rest is for those who need it."""

    model: nn.Module
    """what is called, and whose parameters are trained"""
    sync: Callable[[bool], AbstractContextManager[Any]] = _always
    """(last micro-batch?) → context around forward and backward; keeps gradients local until the last one"""
    expected: dict[str, Any] = field(default_factory=dict)
    """facts that must be seen on the live objects (see measure/applied)"""
    equivalence: Equivalence | None = None
    """where options make it looser than the strategy's class"""

    # Parts of a step that the strategy runs in a way of its own

    optimizer: Callable[[Groups, Construct], Optimizer] | None = None
    """(parameter groups, groups → plain optimizer) → the optimizer"""
    scaler: Callable[..., GradScaler] | None = None
    """takes what torch's GradScaler takes, where one rank's gradients do not tell whether the whole overflowed"""
    backward: Callable[[Tensor], None] | None = None
    """(scaled loss) → None, where an engine runs the backward pass"""
    forward_backward: Callable[[Batch, Loss, Scale, Autocast], Tensor] | None = None
    """(batch, loss of a model and a batch, loss → scaled loss, autocast) → detached loss, of a whole micro-batch"""
    total_norm: Callable[[Sequence[Parameter]], Tensor] | None = None
    """parameters → L2 norm of the whole gradient, where the ranks' own do not tell it"""
    copies: Callable[[Parameter], int] | None = None
    """plain parameter → on how many ranks its numbers are; None: on all"""
    update: Callable[[float | None], Tensor | None] | None = None
    """(largest norm or None) → norm before clipping or None, where an engine clips, updates and clears itself"""
    whole_loss: Callable[[Tensor], Tensor] | None = None
    """losses of steps as this rank knows them → as they are, off the clock, where not every rank sees them"""
    dropout_stream: int = 0
    """added to the seed of dropout, where ranks with the same data must draw different masks"""

    # What is to be known when it is watched

    observed: Callable[[], dict[str, Any]] | None = None
    """facts that only the strategy can read from its live objects"""
    held: nn.Module | None = None
    """what this rank holds of the model, where it is not all"""
    replicas: Sequence[nn.Module] = ()
    """other copies of the model's modules that take part in a step"""
    standing: Callable[[], Sequence[Tensor]] | None = None
    """tensors that live from step to step outside of model and optimizer"""
    untracked: str | None = None
    """why PyTorch's memory tracker does not see all tensors"""
    unseen: str | None = None
    """why not all that is communicated passes PyTorch's process groups"""
    blended: str | None = None
    """why forward and backward cannot be timed apart"""
