"""An average of the trained weights, kept beside them and evaluated in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn import Parameter
from torch.optim.swa_utils import get_ema_multi_avg_fn

from harness.measure.penalties import locals_of


class WeightAverage:
    """a ← decay·a + (1 − decay)·w after each step, over what this rank holds; the first is w itself. Kept in fp32.

    torch's AveragedModel does the same over a deep copy of the module, which sharded ones refuse: its function is used
    on the tensors.
    Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float):
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._averaged = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []
        """empty before the first step"""

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights in, after the optimizer's step."""
        weights = [weight.float() for weight in locals_of(self._parameters)]
        if self.tensors:
            self._averaged(self.tensors, weights, 0)
        else:
            self.tensors = [weight.clone() for weight in weights]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this is open, the model has the average; the trained weights come back to the bit."""
        with torch.no_grad():
            weights = locals_of(self._parameters)
            trained = [weight.clone() for weight in weights]
            torch._foreach_copy_(weights, self.tensors or trained)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(weights, trained)

    def differs(self) -> bool:
        """Whether any number of it is another than the weights'."""
        weights = locals_of(self._parameters)
        pairs = zip(self.tensors, weights, strict=bool(self.tensors))
        return any(not torch.equal(average, weight.float()) for average, weight in pairs)


def gather_anew(model: nn.Module) -> None:
    """Free what FSDP has gathered and kept: it is of other weights than the ones that are there now.

    A forward pass without a backward pass leaves blocks gathered where `reshard_after_forward` is off, and the next
    would use them as they are.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
