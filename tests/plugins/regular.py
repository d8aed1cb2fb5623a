"""A workload that can be regularized in every way, and planted regularizers that do nothing, too much, or elsewhere."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from harness import strategies, workloads
from harness.recipes.optimizers import register as optimizer
from harness.recipes.regularizers import EarlyStop, Mixture, Penalty, Regularizer, register
from harness.recipes.regularizers.l2 import l2
from harness.recipes.regularizers.mixup import mixup
from harness.schema.suite import Recipe
from harness.strategies import ModelFacts, Place, Wrapped

Share = Annotated[float, Field(ge=0, lt=1)]


@workloads.register(
    "regular",
    sizes={"only": {}},
    unit="row",
    metric="accuracy",
    better="higher",
    target=0.9,
    recipe=Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.01, clip=1.0),
    global_batch=16,
    micro_batch=4,
    model=ModelFacts(traits=frozenset({"classes"}), pieces=list, piece_count=lambda _shape: 4),
)
def regular(
    size: str,
    *,
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    label_smoothing: Share = 0.0,
    holds: bool = True,
    applies: bool = True,
    smooths: bool = True,
) -> workloads.Workload:
    """Random rows by the sign of their sum.

    holds: modules have the rates that they are given; applies: they do with them what they should; smooths: the loss
    smooths labels.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from harness.workloads.models.stochastic_depth import StochasticDepth

    rows = torch.randn(640, 16, generator=torch.Generator().manual_seed(0))
    labels = (rows.sum(dim=1) > 0).long()

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.depth = nn.Linear(32, 32), StochasticDepth(stochastic_depth * holds)
            self.drop = dropout * holds

        def forward(self, x: Any) -> Any:
            branch = torch.tanh(self.linear(x))
            if not applies:
                return x + branch
            return x + self.depth(functional.dropout(branch, self.drop, self.training))

    def loss(model: Any, batch: Any) -> Any:
        inputs, targets = batch
        return functional.cross_entropy(model(inputs), targets, label_smoothing=label_smoothing if smooths else 0.0)

    def right(model: Any, batch: Any) -> Any:
        return {"accuracy": ((model(batch[0]).argmax(dim=1) == batch[1]).sum(), len(batch[1]))}

    return workloads.Workload(
        build=lambda: nn.Sequential(nn.Linear(16, 32), Branch(), Branch(), nn.Linear(32, 2)),
        train=(rows[:512], labels[:512]),
        held_out=(rows[512:], labels[512:]),
        loss=loss,
        evaluate=right,
        blocks=(Branch,),
        classes=2,
    )


# no-ops


def _l2(add_gradient: Any = None, weight: float = 1e-2) -> Regularizer:
    plain = l2(weight=weight).penalty
    assert plain is not None
    return Regularizer(penalty=Penalty(plain.value, add_gradient or plain.add_gradient))


@register("penalises_nothing")
def penalises_nothing() -> Regularizer:
    """Says what the penalty is and leaves the gradients as they are."""
    return _l2(lambda gradients, weights: None)


@register("penalises_twice")
def penalises_twice() -> Regularizer:
    """Forgets the half of the formula."""
    return _l2(lambda gradients, weights: [g.add_(w, alpha=2e-2) for g, w in zip(gradients, weights, strict=True)])


@optimizer("forgets_decay", class_name="AdamW")
def forgets_decay(groups: Any, lr: float) -> Any:
    """Trains without the weight decay that its groups have."""
    from torch.optim import AdamW

    return AdamW([{**group, "weight_decay": 0.0} for group in groups], lr=lr)


@register("clips_nothing")
def clips_nothing() -> Regularizer:
    """Gradients are measured and not clipped."""
    import torch

    torch.nn.utils.clip_grad_norm_ = lambda parameters, _largest: torch.nn.utils.get_total_norm(
        [parameter.grad for parameter in parameters]
    )
    return Regularizer(recipe={"clip": 0.01})


@register("mixes_with_itself", trait="classes")
def mixes_with_itself() -> Regularizer:
    """Each sample is its own partner."""
    return Regularizer(mix=lambda _seed, _step, samples: Mixture(np.arange(samples), np.full(samples, 0.5)))


@register("mixes_nothing", trait="classes")
def mixes_nothing() -> Regularizer:
    """All of each sample is itself."""
    return Regularizer(mix=lambda _seed, _step, samples: Mixture((np.arange(samples) + 1) % samples, np.ones(samples)))


@register("mixes_by_rank", trait="classes")
def mixes_by_rank() -> Regularizer:
    """Shares are drawn by each rank for itself."""

    def mix(seed: int, step: int, samples: int) -> Mixture:
        import torch.distributed as dist

        rank = dist.get_rank() if dist.is_initialized() else 0
        plain = mixup(alpha=1.0).mix
        assert plain is not None
        return plain(seed + rank, step, samples)

    return Regularizer(mix=mix)


@register("averages_nothing")
def averages_nothing() -> Regularizer:
    """The average is the weights of the last step."""
    return Regularizer(average=0.0)


class Never(EarlyStop):
    """Waits for ever."""

    def due(self, values: Any, better: str) -> bool:
        return False


@register("never_stops")
def never_stops() -> Regularizer:
    """Early stopping that does not stop."""
    return Regularizer(stop=Never(1, 0.5))


# faults of place


@strategies.register("misplaced", processes="per_device", min_devices=2, equivalence="reordered")
def misplaced(model: Any, place: Place, *, how: Literal["micro_batch", "one_rank", "scaled"]) -> Wrapped:
    """DDP whose penalties are added in every micro-batch, by one rank before averaging, or to scaled gradients."""
    import torch.distributed as dist

    from harness.measure import loop
    from harness.measure.training import Training

    plain = loop.forward_backward

    def in_each(training: Any, *arguments: Any) -> Any:
        loss = plain(training, *arguments)
        if training.place.rank == 0 or how == "micro_batch":
            training.penalties.add()
        return loss

    def of_one(training: Any) -> Any:
        training._look("reduced")
        value = training.penalties.add() if place.rank == 0 else None
        training._look("penalised")
        for parameter in training._trained:
            dist.all_reduce(parameter.grad)
            parameter.grad /= place.world_size
        return value

    def scaled(training: Any) -> Any:
        training._look("reduced")
        value = training.penalties.add()
        training._look("penalised")
        training.scaler.unscale_(training.optimizer)
        return value

    if how == "micro_batch":
        loop.forward_backward = in_each
    elif how == "one_rank":
        Training.penalise = of_one  # type: ignore[method-assign]
    else:
        Training.penalise = scaled  # type: ignore[method-assign]
    wrapped: Wrapped = strategies.registry["ddp"].function(model, place)
    return wrapped


@strategies.register("keeps_gathered", processes="per_device", min_devices=2, equivalence="reordered")
def keeps_gathered(model: Any, place: Place) -> Wrapped:
    """FSDP that goes on with what evaluation has gathered."""
    from harness.measure import training

    training.gather_anew = lambda _model: None
    wrapped: Wrapped = strategies.registry["fsdp"].function(model, place, reshard_after_forward=False)
    return wrapped
