"""Memory of tensors: the allocator's peaks on an accelerator; on CPU the bytes of live tensors, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.monitors import Monitor, register
from harness.schema.prediction import KINDS as KIND_NAMES

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from harness.measure.training import Training
    from harness.schema.record import RankResult

KINDS = {
    "Parameter": "parameters",
    "Sharded Param": "parameters",
    "Unsharded Param": "parameters",
    "Gradient": "gradients",
    "Sharded Grad": "gradients",
    "Unsharded Grad": "gradients",
    "Optstate": "optimizer",
    "OptState": "optimizer",
    "Activation": "activations",
}
"""kind of PyTorch's trackers → our kind; all that is not named here is `other`"""
BYTES_BY_KIND = tuple(f"memory_{kind}_bytes" for kind in KIND_NAMES)


@register("memory", metrics=("peak_allocated_bytes", "peak_reserved_bytes", *BYTES_BY_KIND))
class Memory(Monitor):
    """Peak bytes of tensors.

    On an accelerator the caching allocator's own peaks over the window. CPU has no such allocator: there PyTorch's
    memory tracker follows every tensor through two steps after the window (it slows them up to 16 times, so they
    are never the timed ones), in the first round only, since these bytes are the same each time.
    Source: https://docs.pytorch.org/docs/stable/accelerator.html
    """

    def window_begins(self, training: Training) -> None:
        """Forget the allocator's peaks of building and warm-up."""
        training.device.reset_peaks()

    def window_ends(self, training: Training, result: RankResult) -> None:
        """Read the allocator's peaks."""
        result.metrics |= training.device.peaks()

    def after(self, training: Training, result: RankResult) -> None:
        """Follow every tensor through two steps, on CPU, in the first round."""
        if training.device.kind != "cpu" or training.trial.repeat != 0:
            return
        if training.wrapped.untracked:
            result.facts.setdefault("absent", {})["memory"] = training.wrapped.untracked
        else:
            result.metrics |= tracked_peak(training)


def tensors_in_lists(optimizer: Optimizer) -> list[Tensor]:
    """State that an optimizer keeps in lists (SOAP's matrices, L-BFGS's history): the tracker looks at tensors alone.

    They are in the peak, as `other`.
    """
    from torch import Tensor

    lists = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, list)]
    return [tensor for each in lists for tensor in each if isinstance(tensor, Tensor)]


def tracked_peak(training: Training) -> dict[str, float]:
    """Bytes of tensors at their peak in a step, whole and by kind.

    The first step under the tracker is not counted: gradients and buckets that were made before it are unknown to it.
    """
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.distributed.fsdp import FSDPModule
    from torch.nn.modules.module import register_module_forward_pre_hook

    sharded = isinstance(training.model, FSDPModule)
    tracker: Any = FSDPMemTracker(training.model, training.optimizer) if sharded else MemTracker()
    if not sharded:
        tracker.track_external(training.model, training.optimizer, *tensors_in_lists(training.optimizer))

    standing = list(training.wrapped.standing()) if training.wrapped.standing is not None else []
    if training.average is not None:
        standing += training.average.tensors
    tracker.track_external(*standing)
    untold = sum(tensor.nbytes for tensor in standing) if sharded else 0  # FSDP's tracker takes nothing from outside
    outermost = training.wrapped.held or training.model

    def forget_modules(module: nn.Module, _inputs: Any) -> None:
        # The tracker refuses a second forward pass of the outermost module (accumulation, pipelines) until its
        # statistics by module are cleared.
        if module is outermost:
            tracker.reset_mod_stats()

    forgetting = register_module_forward_pre_hook(forget_modules)  # before the tracker's own
    try:
        with tracker:
            training.step()
            training.step()
    finally:
        forgetting.remove()
    snapshot = tracker.get_tracker_snapshot("peak")
    by_kind = dict.fromkeys(BYTES_BY_KIND, 0.0) | {"memory_other_bytes": float(untold)}
    total = float(untold)
    for kinds in snapshot.values():
        for kind, size in kinds.items():
            name = getattr(kind, "value", str(kind))
            if name == "Total":
                total += size
            else:
                by_kind[f"memory_{KINDS.get(name, 'other')}_bytes"] += size
    return {"peak_allocated_bytes": total, **by_kind}
