"""A tape: bytes of tensors by kind while operations run, and the moment at which they were most together.

It runs over tensors that have shapes and no values (`FakeTensorMode`) as over real ones: what counts is which storage
an operation makes and when nobody holds it any more.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from harness.schema.prediction import KINDS

Sizes = dict[str, int]


class Tape(TorchDispatchMode):
    """Follows what operations make. held: bytes by kind that stand all the time (and are no tensors of these).

    What is made outside of a backward pass is an activation for as long as it is held, what a backward pass makes is
    `other` until it is found to be a parameter's gradient. What a backward pass computes again (checkpointing) is an
    activation too. making: kind of all that is made, in place of these two.
    """

    def __init__(self, held: Sizes | None = None, making: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: Sizes = dict.fromkeys(KINDS, 0) | (held or {})
        self.peak: Sizes = dict(self.now)
        self.making = making
        self._kinds: dict[int, tuple[str | None, int]] = {}

    def add(self, kind: str, size: int) -> None:
        """So many bytes more (or, below 0, fewer) of a kind."""
        self.now[kind] += size
        if sum(self.now.values()) > sum(self.peak.values()):
            self.peak = dict(self.now)

    def know(self, tensor: Tensor, kind: str | None) -> None:
        """From here on a tensor's storage is of this kind; None: it is counted elsewhere."""
        storage = tensor.untyped_storage()
        before, size = self._kinds.get(storage._cdata, (None, storage.nbytes()))
        if storage._cdata not in self._kinds:
            weakref.finalize(storage, self._gone, storage._cdata)
        self._kinds[storage._cdata] = (kind, size)
        if before is not None:
            self.now[before] -= size
        if kind is not None:
            self.add(kind, size)

    def _gone(self, key: int) -> None:
        kind, size = self._kinds.pop(key)
        if kind is not None:
            self.now[kind] -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it made."""
        result = func(*args, **(kwargs or {}))
        for made in tree_iter(result):
            if isinstance(made, Tensor) and made.untyped_storage()._cdata not in self._kinds:
                self.know(made, self.making or ("other" if passing_back() else "activations"))
        return result


def passing_back() -> bool:
    """Whether a backward pass runs, and does not compute a part of the forward pass again."""
    return in_backward() and not torch.is_grad_enabled()


def in_backward() -> bool:
    """Whether a backward pass runs."""
    return bool(torch._C._current_graph_task_id() != -1)
