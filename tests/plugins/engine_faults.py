"""Planted faults of other engines: an option that does nothing, weights that are never sent, norms never clipped."""

from typing import Any

from harness import strategies
from harness.strategies import Place, Wrapped

FACTS: dict[str, Any] = {"processes": "per_device", "min_devices": 2, "equivalence": "reordered"}


@strategies.register("horovod_unused", **FACTS)
def horovod_unused(model: Any, place: Place) -> Wrapped:
    """Takes the option, initialises Horovod, and trains with the recipe's plain optimizer."""
    wrapped: Wrapped = strategies.registry["horovod"].function(model, place)
    wrapped.optimizer = None
    return wrapped


@strategies.register("horovod_summed", **FACTS)
def horovod_summed(model: Any, place: Place) -> Wrapped:
    """Horovod adds gradients up instead of averaging them: under AdamW the loss hardly shows it."""
    import horovod.torch as hvd

    wrapped: Wrapped = strategies.registry["horovod"].function(model, place)
    own = wrapped.optimizer
    assert own is not None

    def summing(groups: Any, construct: Any) -> Any:
        optimizer: Any = own(groups, construct)
        optimizer.op = hvd.Sum
        return optimizer

    wrapped.optimizer = summing
    return wrapped


@strategies.register("horovod_stated", **FACTS)
def horovod_stated(model: Any, place: Place) -> Wrapped:
    """Sends the new optimizer's state as Horovod's examples do: it makes some by a step with zero gradients."""
    import horovod.torch as hvd

    wrapped: Wrapped = strategies.registry["horovod"].function(model, place)
    own = wrapped.optimizer
    assert own is not None

    def stated(groups: Any, construct: Any) -> Any:
        optimizer = own(groups, construct)
        hvd.broadcast_optimizer_state(optimizer, root_rank=0)
        return optimizer

    wrapped.optimizer = stated
    return wrapped


@strategies.register("horovod_astray", **FACTS)
def horovod_astray(model: Any, place: Place, *, sent: bool = True) -> Wrapped:
    """Rank 1 begins with other weights; with `sent` before Horovod sends rank 0's, else afterwards."""
    import torch

    def stray() -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * place.rank)

    if sent:
        stray()
    wrapped: Wrapped = strategies.registry["horovod"].function(model, place)
    if not sent:
        stray()
    return wrapped


@strategies.register("deepspeed_lower", **FACTS)
def deepspeed_lower(model: Any, place: Place) -> Wrapped:
    """Says stage 3 and carries out stage 1."""
    wrapped: Wrapped = strategies.registry["deepspeed"].function(model, place, stage=1)
    wrapped.expected |= {"zero_stage": 3, "sharded": True}
    return wrapped


@strategies.register("deepspeed_unclipped", **FACTS)
def deepspeed_unclipped(model: Any, place: Place) -> Wrapped:
    """The engine is never told what the recipe clips to."""
    wrapped: Wrapped = strategies.registry["deepspeed"].function(model, place)
    update = wrapped.update
    assert update is not None
    wrapped.update = lambda _largest: update(None)
    return wrapped
