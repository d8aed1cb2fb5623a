"""8-bit floats in the linear layers, by torchao; all else as under bfloat16 autocast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.strategies import Place, Setting, Unsupported
from harness.strategies.precision import Precision, expected_facts, precisions

if TYPE_CHECKING:
    from torch import nn

ADA = (8, 9)
"""compute capability from which tensor cores multiply 8-bit floats: Ada and Hopper"""
ROWWISE = (9, 0)
"""compute capability from which they do so with a scale per row"""
MULTIPLE = 16
"""both sides of a matrix must be multiples of this for the devices' 8-bit products"""

Scaling = Literal["tensorwise", "rowwise"]


def _impossible(setting: Setting, *, scaling: str = "tensorwise") -> str | None:
    if setting.kind == "cpu":
        return None  # PyTorch computes these products there too, in more bits: right, and slow
    least = ROWWISE if scaling == "rowwise" else ADA
    return setting.below_capability(least, "products of 8-bit floats are made by the tensor cores of NVIDIA devices")


@precisions.register(
    "fp8",
    equivalence="approximate",
    impossible=_impossible,
    requires=("torchao",),
    install="pip install torchao",
    source="https://github.com/pytorch/ao/tree/main/torchao/float8",
)
def fp8(*, scaling: Scaling = "tensorwise") -> Precision:
    """Linear layers multiply 8-bit floats (torchao), the rest computes under bfloat16 autocast; weights stay in fp32.

    scaling: one factor per tensor, or per row. Layers of which a side is no multiple of 16 stay as they are. Without
    the technique `compile` the rounding is a pass of its own and fp8 is slower than bf16. On CPU the values are
    rounded to 8 bits and multiplied in more: that shows what is learned, and says nothing of speed.
    """

    def convert(model: nn.Module, _place: Place) -> nn.Module:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training

        wanted = [name for name, module in model.named_modules() if _fits(module)]
        if not wanted:
            raise Unsupported(f"fp8 needs a linear layer with both sides multiples of {MULTIPLE}; this model has none")
        expected["float8_modules"] = len(wanted)
        config = Float8LinearConfig.from_recipe_name(scaling)
        converted: nn.Module = convert_to_float8_training(
            model, config=config, module_filter_fn=lambda module, _name: _fits(module)
        )
        return converted

    expected = expected_facts("bfloat16")
    return Precision("bfloat16", expected=expected, convert=convert, observed=_observed)


def _fits(module: nn.Module) -> bool:
    from torch import nn

    sides = (module.in_features, module.out_features) if isinstance(module, nn.Linear) else (1,)
    return all(side % MULTIPLE == 0 for side in sides)


def _observed(model: nn.Module) -> dict[str, Any]:
    from torchao.float8.float8_linear import Float8Linear

    return {"float8_modules": sum(isinstance(module, Float8Linear) for module in model.modules())}
