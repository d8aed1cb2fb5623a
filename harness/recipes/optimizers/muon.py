"""Muon for hidden matrices, AdamW for all else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.recipes.optimizers import Beta, Epsilon, register

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _momentum_or_moments(shape: tuple[int, ...], hidden: bool, **_options: object) -> int:
    return math.prod(shape) * (1 if hidden else 2)


@register(
    "muon",
    state_of_shape=_momentum_or_moments,
    class_name="MuonWithAdamW",
    weight_decay="decoupled",
    unable={"flat": "muon makes matrices orthogonal, and this strategy flattens parameters"},
    reordered="approximate",
    splits_hidden=True,
    source="https://arxiv.org/abs/2502.16982",
)
def muon(
    groups: list[dict[str, Any]],
    lr: float,
    *,
    momentum: Beta = 0.95,
    nesterov: bool = True,
    ns_steps: Annotated[int, Field(ge=1, lt=100)] = 5,
    adjust_lr: Literal["match_rms_adamw", "original"] = "match_rms_adamw",
    beta1: Beta = 0.9,
    beta2: Beta = 0.999,
    eps: Epsilon = 1e-8,
) -> Optimizer:
    """Muon: w ← w − lr·a·O − lr·decay·w, O near the orthogonal matrix closest to the gradient's momentum.

    For matrices that are no embedding; embeddings, kernels of convolutions, norms and biases get AdamW (beta1, beta2,
    eps) at the same learning rate. An output layer with a matrix of its own is a matrix like the others.
    ns_steps: iterations (Newton-Schulz, in bfloat16) that make O; adjust_lr: a = 0.2·√(longer side), so that an
    update's RMS is AdamW's and one learning rate serves both, or `original`: a = √max(1, rows ÷ columns).
    """
    from harness.recipes.muon_and_adamw import MuonWithAdamW

    hidden = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr}
    return MuonWithAdamW(groups, lr, hidden, {"betas": (beta1, beta2), "eps": eps})
