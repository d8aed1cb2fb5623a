"""Planted faults of models that are divided over ranks: each is wrong in one known way and must be caught."""

from dataclasses import replace
from typing import Any

from harness import strategies
from harness.strategies import Place, Wrapped


def _all(devices: int, **_options: object) -> int:
    return devices


def _real(name: str, model: Any, place: Place, **options: Any) -> Wrapped:
    wrapped: Wrapped = strategies.registry[name].function(model, place, **options)
    return wrapped


PARTS: dict[str, Any] = {"processes": "per_device", "min_devices": 2, "equivalence": "reordered", "model_ranks": _all}


@strategies.register("rows_unreduced", **PARTS)
def rows_unreduced(model: Any, place: Place) -> Wrapped:
    """Tensor parallel whose partial sums are never added up."""
    from torch.distributed.tensor import Partial
    from torch.distributed.tensor.parallel import RowwiseParallel

    init = RowwiseParallel.__init__

    def partial(self: Any, **options: Any) -> None:
        init(self, **{**options, "output_layouts": Partial()})

    RowwiseParallel.__init__ = partial  # type: ignore[method-assign]
    return _real("tensor_parallel", model, place)


@strategies.register("nothing_parallel", **PARTS)
def nothing_parallel(model: Any, place: Place) -> Wrapped:
    """Says it divides layers and leaves all of them whole."""
    from torch.distributed.tensor import parallel

    parallel.parallelize_module = lambda module, *_ignored: module  # type: ignore[assignment]
    return _real("tensor_parallel", model, place)


@strategies.register("one_data_for_each", processes="per_device", min_devices=4, equivalence="reordered")
def one_data_for_each(model: Any, place: Place) -> Wrapped:
    """FSDP × tensor parallel whose ranks all take other data, as if none of them computed a layer together."""
    return _real("fsdp_tp", model, place)


@strategies.register("pipeline_scaled", **PARTS, whole_step=True)
def pipeline_scaled(model: Any, place: Place) -> Wrapped:
    """A pipeline whose gradients are summed over micro-batches instead of averaged."""
    wrapped = _real("pipeline", model, place)
    run: Any = wrapped.forward_backward

    def summed(batch: Any, loss: Any, scale: Any, autocast: Any) -> Any:
        return run(batch, loss, lambda value: scale(value * place.accumulation), autocast)

    return replace(wrapped, forward_backward=summed)


@strategies.register("pipeline_untied", **PARTS, whole_step=True)
def pipeline_untied(model: Any, place: Place) -> Wrapped:
    """A pipeline whose first and last stage each train their copy of the embedding by their own gradients."""
    from torch import nn

    model.readout.head.weight = nn.Parameter(model.readout.head.weight.detach().clone())
    wrapped = _real("pipeline", model, place)
    del wrapped.expected["local_share"]  # that copies are counted is another test's matter
    return wrapped


@strategies.register("pipeline_counts_twice", **PARTS, whole_step=True)
def pipeline_counts_twice(model: Any, place: Place) -> Wrapped:
    """A pipeline whose gradient norm counts the tied embedding on both stages."""
    wrapped = _real("pipeline", model, place)
    run: Any = wrapped.total_norm
    for tied in run.__self__.tied:
        object.__setattr__(tied, "counted", True)
    return wrapped


@strategies.register("pipeline_whole", **PARTS, whole_step=True)
def pipeline_whole(model: Any, place: Place) -> Wrapped:
    """Says it keeps a stage and keeps the whole model."""
    import copy

    kept = copy.deepcopy(model)
    return replace(_real("pipeline", model, place), model=kept)


@strategies.register("pipeline_other_order", **PARTS, whole_step=True)
def pipeline_other_order(model: Any, place: Place) -> Wrapped:
    """Takes the option 1F1B and runs GPipe."""
    from harness.strategies.modules import schedule

    schedule.SCHEDULES["1f1b"] = schedule.SCHEDULES["gpipe"]  # type: ignore[assignment]
    return _real("pipeline", model, place, schedule="1f1b")


@strategies.register("pipeline_seeds", **PARTS, whole_step=True)
def pipeline_seeds(model: Any, place: Place, *, same: bool = False) -> Wrapped:
    """Tells whether each stage draws its own dropout masks; same: planted, they all draw the same."""
    import torch
    import torch.distributed as dist

    wrapped = _real("pipeline", model, place)

    def observed() -> dict[str, Any]:
        seeds = [0] * place.world_size
        dist.all_gather_object(seeds, torch.initial_seed())
        return {"stage_streams": len(set(seeds))}

    stream = 0 if same else wrapped.dropout_stream
    return replace(wrapped, expected={"stage_streams": place.world_size}, observed=observed, dropout_stream=stream)


@strategies.register("not_on_meta", processes="per_device", min_devices=2, equivalence="reordered")
def not_on_meta(model: Any, place: Place) -> Wrapped:
    """Takes the option of meta initialisation after the whole model was built on every rank."""
    return _real("fsdp", model, place, meta_init=True)


@strategies.register("meta_empty", processes="per_device", min_devices=2, equivalence="reordered")
def meta_empty(model: Any, place: Place) -> Wrapped:
    """Meta initialisation from a rank 0 that draws its weights anew, not those of the trial."""
    import torch

    build = place.build
    assert build is not None

    def other() -> Any:
        built = build()
        with torch.no_grad():
            next(built.parameters()).mul_(1.01)
        return built

    wrapped = _real("fsdp", model, replace(place, build=other), meta_init=True)
    del wrapped.expected["built_on_meta"]
    return wrapped
