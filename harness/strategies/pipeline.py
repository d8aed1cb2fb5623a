"""Pipeline: the model is cut into stages, one per rank, through which micro-batches pass one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.strategies import Holding, Place, Setting, Unsupported, Wrapped, register
from harness.strategies.compilation import compiled
from harness.strategies.whole_model import scaler_of_all_ranks

if TYPE_CHECKING:
    from torch import nn

Order = Literal["gpipe", "1f1b"]


def _impossible(setting: Setting, *, schedule: Order = "gpipe") -> str | None:
    stages, facts = setting.devices, setting.model
    if facts.pieces is None:
        return f"workload {setting.workload} does not say which pieces its model is made of (pieces of its ModelFacts)"
    pieces = facts.piece_count(setting.shape) if facts.piece_count is not None else stages
    if pieces < stages:
        return f"{stages} stages need as many pieces: {setting.workload} has {pieces} at this size"
    micro_batches = setting.global_batch // setting.micro_batch
    if schedule == "1f1b" and micro_batches < stages:
        return (
            f"1F1B needs at least as many micro-batches as stages: "
            f"global_batch ÷ micro_batch is {micro_batches}, stages {stages}"
        )
    return None


def _holds(model: nn.Module, place: Place, *, schedule: Order = "gpipe") -> Holding:
    every, ranks = place.accumulation, place.world_size

    def waiting(stage: int) -> int:
        return every if schedule == "gpipe" else min(every, ranks - stage)

    return Holding(stages=cut(model, place), waiting=waiting)


def _all_ranks(devices: int, **_options: object) -> int:
    return devices


@register(
    "pipeline",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    updates="some",
    model_ranks=_all_ranks,
    holds=_holds,
    whole_step=True,
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/distributed.pipelining.html",
)
def pipeline(model: nn.Module, place: Place, *, schedule: Order = "gpipe") -> Wrapped:
    """A stage of the model per rank; activations go forth and gradients back, micro-batch by micro-batch.

    schedule: `gpipe` runs all forward passes, then all backward passes (https://arxiv.org/abs/1811.06965); `1f1b` runs
    one of each in turn as soon as it can and keeps fewer activations (https://arxiv.org/abs/1806.03377).
    The pieces that the workload names are dealt out evenly in their order, what is left over to the first stages. The
    micro-batches are those of `micro_batch`; ranks idle while the pipeline fills and drains: the more there are, the
    less of the time.
    Every rank builds the whole model and keeps its stage. A parameter of two stages (tied embeddings) is on both: its
    gradients are added up, so that both copies take the same update.
    """
    from harness.strategies.modules.schedule import ScheduledStage, loss_of_last, tied_parameters
    from harness.strategies.modules.stage import Stage, Whole

    if compiled(model):
        raise Unsupported("a pipeline calls the pieces of its model, never the whole that is compiled")
    stages = cut(model, place)
    stage = Stage(stages[place.rank])
    whole = Whole(stage)
    run = ScheduledStage(whole, place, schedule, tied_parameters(stages, place.rank))
    total = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    share = sum(parameter.numel() for parameter in stage.parameters()) / total
    _let_go(model, stage)

    expected: dict[str, Any] = {
        "wrapper": "none",
        "world_size": place.world_size,
        "sharded": False,
        "local_share": (0.0, share + 1e-9),
        "pipeline_stages": place.world_size,
        "pipeline_schedule": {"gpipe": "ScheduleGPipe", "1f1b": "Schedule1F1B"}[schedule],
        "pipeline_micro_batches": place.accumulation,
        "pieces_per_stage": "+".join(str(len(pieces)) for pieces in stages),
    }
    expected |= _of_this_stage(stage, place)
    return Wrapped(
        whole,
        expected=expected,
        forward_backward=run.forward_backward,
        observed=run.observed,
        total_norm=run.total_norm,
        whole_loss=loss_of_last,
        scaler=scaler_of_all_ranks,
        held=stage,
        copies=run.copies,
        standing=run.standing,
        dropout_stream=place.rank,
        blended="a pipeline's schedule runs forward and backward passes of its micro-batches in turn",
    )


def cut(model: nn.Module, place: Place) -> list[list[nn.Module]]:
    """The model's pieces by stage, dealt out evenly in their order.

    Raises Unsupported where the pieces do not make the whole model or do not suffice.
    """
    if place.model.pieces is None:
        raise Unsupported("the workload does not say which pieces its model is made of (pieces of its ModelFacts)")
    pieces = list(place.model.pieces(model))
    held = {id(parameter) for piece in pieces for parameter in piece.parameters()}
    if left := [name for name, parameter in model.named_parameters() if id(parameter) not in held]:
        raise Unsupported(f"the pieces that the workload names leave out parameters: {', '.join(left[:3])}")
    each, more = divmod(len(pieces), place.world_size)
    if each == 0:
        raise Unsupported(f"{place.world_size} stages need as many pieces: the model has {len(pieces)}")
    stages, first = [], 0
    for number in range(place.world_size):
        end = first + each + (number < more)
        stages.append(pieces[first:end])
        first = end
    for number, stage in enumerate(stages):
        if not any(parameter.requires_grad for piece in stage for parameter in piece.parameters()):
            raise Unsupported(f"stage {number} of {place.world_size} has nothing to train")
    return stages


def _let_go(model: nn.Module, stage: nn.Module) -> None:
    """Free the memory of all that other stages hold, whoever still refers to it."""
    import torch

    held = {id(tensor) for tensor in (*stage.parameters(), *stage.buffers())}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in held:
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)


def _of_this_stage(stage: nn.Module, place: Place) -> dict[str, Any]:
    """What may be asked of this rank where precision and techniques ask it of the whole model; None: of others only."""
    from torch import nn

    asked: dict[str, Any] = {}
    modules = list(stage.modules())
    if not any(isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) for module in modules):
        asked["compute_dtype"] = None
    if not any(isinstance(module, place.blocks) for module in modules):
        asked |= dict.fromkeys(("kept_products", "compiled_calls", "compiled_frames"))
    elif own := sum(map(compiled, modules)):
        asked["compiled_calls"] = (own * place.accumulation, float("inf"))
    return asked
