"""Autocast: products are computed in 16 bits, weights and all that needs range or digits stay in 32."""

from __future__ import annotations

from harness.strategies.precision import Precision, expected_facts, precisions

SOURCE = "https://docs.pytorch.org/docs/stable/amp.html"


@precisions.register("bf16", equivalence="approximate", source=SOURCE)
def bf16() -> Precision:
    """Autocast to bfloat16; it has the range of fp32, so gradients need no scaling."""
    return Precision("bfloat16", expected=expected_facts("bfloat16"))


@precisions.register("fp16", equivalence="approximate", source=SOURCE)
def fp16(*, init_scale: float = 2.0**16, growth_interval: int = 2000) -> Precision:
    """Autocast to float16 with gradient scaling: a step whose gradients overflow is skipped and the scale halved.

    init_scale: first factor of the loss; growth_interval: steps without overflow after which the scale is doubled.
    """
    scaling = {"init_scale": init_scale, "growth_interval": growth_interval}
    return Precision("float16", scaling, expected_facts("float16", scaling=True))
