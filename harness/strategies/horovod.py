"""Horovod: gradients averaged by its own background thread, behind `hvd.DistributedOptimizer`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from harness.strategies import Construct, Groups, Place, Setting, Wrapped, register
from harness.strategies.horovod_ranks import meet

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Compression = Literal["none", "fp16"]
NEVER = 2**30
"""Backward passes until gradients are sent, as Horovod counts them: more than there will be."""
UNTRACKED = (
    "Horovod packs gradients into a buffer of its own (HOROVOD_FUSION_THRESHOLD, 128 MiB at most) in a background "
    "thread, which PyTorch's memory tracker does not see"
)


def _impossible(setting: Setting, **_options: object) -> str | None:
    if setting.precision == "bf16_weights":
        return "Horovod 0.28.1 knows no bfloat16 tensors: it can neither send such weights nor average their gradients"
    return None


@register(
    "horovod",
    processes="per_device",
    min_devices=2,
    equivalence="reordered",
    impossible=_impossible,
    requires=("horovod",),
    install="make horovod",
    source="https://arxiv.org/abs/1802.05799",
)
def horovod(model: nn.Module, place: Place, *, compress: Compression = "none") -> Wrapped:
    """Horovod 0.28.1 (frozen upstream since 2023): `DistributedOptimizer` averages gradients as they become ready.

    compress: fp16 sends gradients in half the bytes.
    Rank 0's initial parameters and buffers are sent to all. Optimizer state is not: a new optimizer has none, and
    Horovod's `broadcast_optimizer_state` would make some by a step with zero gradients, which under AdamW counts as a
    step and shrinks the weights by their decay. With accumulation only the last micro-batch communicates. The wait
    for the averages comes after the backward pass and counts as part of `optimizer`, as it does in Horovod's `step`.
    """
    import horovod.torch as hvd

    meet()
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    averaging = _Averaging(model, compress)
    expected = {
        "wrapper": "none",
        "world_size": place.world_size,
        "sharded": False,
        "averaging": "horovod",
        "averaging_ranks": place.world_size,
        "gradient_compression": compress,
    }
    return Wrapped(
        model,
        averaging.sync,
        expected,
        equivalence=None if compress == "none" else "approximate",
        optimizer=averaging.optimizer,
        observed=averaging.observed,
        unseen="Horovod communicates in a background thread of its own, past PyTorch's process groups",
        untracked=UNTRACKED,
    )


class _Averaging:
    """Horovod's optimizer around the recipe's own, and when it communicates."""

    def __init__(self, model: nn.Module, compress: Compression):
        self._model, self._compress = model, compress
        self._made: Any = None
        self._skipping: AbstractContextManager[Any] | None = None

    def optimizer(self, groups: Groups, construct: Construct) -> Optimizer:
        """Make the recipe's optimizer one that averages gradients."""
        import horovod.torch as hvd

        made = hvd.DistributedOptimizer(
            construct(groups),
            named_parameters=[(name, p) for name, p in self._model.named_parameters() if p.requires_grad],
            compression=getattr(hvd.Compression, self._compress),
            op=hvd.Average,
        )
        # Gradients are averaged before they are unscaled, measured and clipped (`sync`), so that `step` need not do it
        # again. Kept open for good: the context would otherwise be closed by the garbage collector.
        self._skipping = made.skip_synchronize()
        self._skipping.__enter__()
        cleared = made.zero_grad
        made.zero_grad = lambda set_to_none=True: cleared()  # Horovod's takes no arguments; it does set to None
        self._made = made
        optimizer: Optimizer = made
        return optimizer

    @contextmanager
    def sync(self, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro-batch: only the last sends gradients, and waits for the averages."""
        made = self._made
        if made is None:
            yield
            return
        passes = 1 if last else NEVER
        if made.backward_passes_per_step != passes:
            made.set_backward_passes_per_step(passes)
        yield
        if last:
            made.synchronize()

    def observed(self) -> dict[str, Any]:
        """Who averages, as the live optimizer says: Horovod only where each trained parameter carries its hook."""
        import horovod.torch as hvd

        made = self._made
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        hooked = 0 if made is None else len(getattr(made, "_grad_accs", ()))
        if not hooked:
            return {"averaging": "none", "averaging_ranks": 1, "gradient_compression": "none"}
        names = {hvd.Compression.none: "none", hvd.Compression.fp16: "fp16"}
        return {
            "averaging": "horovod" if hooked == len(trained) else f"horovod for {hooked} of {len(trained)} parameters",
            "averaging_ranks": hvd.size(),
            "gradient_compression": names.get(made._compression, "unknown"),
        }
