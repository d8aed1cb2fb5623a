"""Activation checkpointing: blocks forget their activations and compute them again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.strategies import Place, Setting
from harness.strategies.techniques import Adapted, techniques

if TYPE_CHECKING:
    from torch import nn

Keep = Literal["nothing", "products"]
PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_mm"})
ATTENTION = "_scaled_dot_product"


def _impossible(setting: Setting, *, keep: str = "nothing", **_options: object) -> str | None:
    if keep == "products" and "compile" in setting.techniques:
        return 'keep = "products" sees no single products within compiled code: leave out compile, or keep nothing'
    return None


@techniques.register(
    "checkpointing", equivalence="exact", impossible=_impossible, source="https://arxiv.org/abs/1604.06174"
)
def checkpointing(
    model: nn.Module, place: Place, *, keep: Keep = "nothing", every: Annotated[int, Field(ge=1)] = 1
) -> Adapted:
    """Blocks keep their input only and compute the rest again in the backward pass: less memory, more compute.

    keep: nothing, or the results of matrix products, convolutions and attention, so that only what is cheap is
    computed again (selective checkpointing); every: 2 treats every second block so, from the first on.
    Source of selection: https://docs.pytorch.org/docs/stable/checkpoint.html
    """
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        apply_activation_checkpointing,
        checkpoint_wrapper,
    )

    chosen = [module for module in model.modules() if isinstance(module, place.blocks)][::every]
    kept = _Kept()
    wrap = partial(checkpoint_wrapper, context_fn=kept.contexts) if keep == "products" else checkpoint_wrapper
    apply_activation_checkpointing(
        model, checkpoint_wrapper_fn=wrap, check_fn=lambda module: any(module is one for one in chosen)
    )

    expected = {"checkpointed_blocks": len(chosen), "kept_products": keep == "products"}
    return Adapted(expected, observed=kept.found)


class _Kept:
    """The policy of selective checkpointing, and whether the results of products were really kept in the first step."""

    def __init__(self) -> None:
        self.watching = True
        self.results = 0
        self.again = 0

    def __deepcopy__(self, _memo: object) -> _Kept:
        return self  # replicas of the model tell the same one

    def contexts(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """Contexts of the forward pass and of the pass that computes again."""
        from torch.utils.checkpoint import create_selective_checkpoint_contexts

        first, second = create_selective_checkpoint_contexts(self.policy)  # type: ignore[no-untyped-call]
        return first, self._watched(second) if self.watching else second

    def policy(self, _context: Any, operation: Any, *_arguments: Any, **_keywords: Any) -> Any:
        """Keep the result, or compute it again."""
        from torch.utils.checkpoint import CheckpointPolicy

        if not is_product(operation):
            return CheckpointPolicy.PREFER_RECOMPUTE
        self.results += 1
        return CheckpointPolicy.MUST_SAVE

    def found(self) -> dict[str, Any]:
        """Read the fact; from here on nobody watches, since that costs time in each operation."""
        self.watching = False
        return {"kept_products": self.results > 0 and self.again == 0}

    @contextmanager
    def _watched(self, second: AbstractContextManager[Any]) -> Iterator[None]:
        """The second pass, with a count of the products that are really computed: kept ones do not come so far."""
        from torch.utils._python_dispatch import TorchDispatchMode

        kept = self

        class Computed(TorchDispatchMode):  # type: ignore[no-untyped-call]
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                kept.again += is_product(func)
                return func(*args, **(kwargs or {}))

        with Computed(), second:  # type: ignore[no-untyped-call]
            yield


def is_product(operation: Any) -> bool:
    """Whether an operation of PyTorch's is a matrix product, a convolution or attention."""
    name = operation.__name__.split(".")[0]
    return name in PRODUCTS or name.startswith(ATTENTION)
