"""Channels last: pictures and kernels lie in memory pixel by pixel, all channels of a pixel together (NHWC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.strategies import Place, Setting, Unsupported
from harness.strategies.techniques import Adapted, techniques

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARDED = ("fsdp", "hsdp")


def _impossible(setting: Setting) -> str | None:
    if "conv2d" not in setting.model.traits:
        return f"channels_last is a layout for convolutions of pictures: {setting.workload} has none"
    if setting.strategy in SHARDED:
        return "channels_last: FSDP2 divides parameters that lie row by row only, and refuses other layouts"
    return None


@techniques.register(
    "channels_last",
    equivalence="approximate",
    impossible=_impossible,
    source="https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html",
)
def channels_last(model: nn.Module, place: Place) -> Adapted:
    """Pictures and kernels of convolutions lie in memory with all channels of a pixel together (NHWC).

    The operations are the same (in 64 bits the gradients agree to 1e-14), their roundings are not: PyTorch's CPU
    kernels for this layout leave gradients of a small ResNet with 2e-5 of error where those for rows leave 2e-6, and
    AdamW makes 2e-3 of it in five steps. Hence the class approximate.
    """
    import torch
    from torch import nn

    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kernels = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not any(layout(kernel) != "either" for kernel in kernels):
        raise Unsupported("channels_last: every kernel has one channel or one pixel, so that both layouts are the same")

    def observed() -> dict[str, Any]:
        weights = (layout(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d))
        return {"weight_layout": next(found for found in weights if found != "either")}

    def inputs(tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    return Adapted({"weight_layout": "channels_last", "output_layout": "channels_last"}, inputs, observed)


def layout(tensor: Tensor) -> str:
    """How a 4-D tensor lies in memory, by its strides: rows, channels_last, either (they are the same) or neither."""
    import torch

    rows, last = tensor.is_contiguous(), tensor.is_contiguous(memory_format=torch.channels_last)
    return {(True, True): "either", (True, False): "rows", (False, True): "channels_last"}.get((rows, last), "neither")
