"""Two of torch's optimizers as one: Muon takes the groups marked `hidden`, AdamW all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer


class MuonWithAdamW(Optimizer):
    """Muon for the groups marked `hidden`, AdamW for the rest.

    Groups and state are the two optimizers' own and this one's at once, so that a schedule, a gradient scaler, ZeRO
    and the memory monitor see one optimizer with all parameters.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, muon: dict[str, Any], adamw: dict[str, Any]):
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        hidden = [group for group in self.param_groups if group.get("hidden")]
        rest = [group for group in self.param_groups if not group.get("hidden")]
        self.parts: list[Optimizer] = []
        if hidden:
            self.parts.append(Muon(hidden, lr=lr, **muon))
        if rest:
            self.parts.append(AdamW(rest, lr=lr, **adamw))
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters by the gradients they have."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss
