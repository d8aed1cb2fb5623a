"""What torch.compile has done in this process, by its own counters; nothing where nobody has used it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

TIMED = ("entire_frame_compile", "entire_backward_compile")
"""PyTorch's names of the two stretches that make up all compiling: of forward code, and of a backward pass"""


def seconds() -> float:
    """Seconds spent compiling so far; a backward pass is compiled when it first runs."""
    dynamo = _loaded()
    return sum(dynamo.cumulative_time_spent_ns[name] for name in TIMED) * 1e-9 if dynamo else 0.0


def counts() -> dict[str, int]:
    """Frames that were looked at and compiled, graphs made of them, places that broke a graph, hits of the cache."""
    dynamo = _loaded()
    if dynamo is None:
        return {}
    counters: Any = dynamo.counters
    return {
        "frames": counters["frames"]["total"],
        "compiled_frames": counters["frames"]["ok"],
        "graphs": counters["stats"]["unique_graphs"],
        "graph_breaks": sum(counters["graph_break"].values()),
        "cache_hits": counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"],
    }


def uncompiled() -> AbstractContextManager[Any]:
    """Context in which compiled code is left aside and nothing is compiled: for what is not timed, at other shapes."""
    if not seconds():
        return nullcontext()
    import torch

    context: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return context


def compiled(module: nn.Module) -> bool:
    """Whether the module's forward pass is compiled code, or runs inside torch.compile."""
    forward = vars(module).get("forward")
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or getattr(forward, "_torchdynamo_orig_callable", None) is not None


def outside(model: nn.Module) -> list[nn.Module]:
    """Modules of the model that are called from plain Python, where a hook sees what runs and does not slow it."""
    found = []

    def walk(module: nn.Module) -> None:
        if getattr(module, "_compiled_call_impl", None) is None:
            found.append(module)
            if not compiled(module):
                for child in module.children():
                    walk(child)

    walk(model)
    return found


def _loaded() -> Any:
    return sys.modules.get("torch._dynamo.utils")
