"""One process on one device: what every other strategy is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.strategies import Holding, Place, Wrapped, register

if TYPE_CHECKING:
    from torch import nn


def _shares(devices: int, *, cores: str = "share") -> int:
    return devices if cores == "all" else 1


def _holds(_model: nn.Module, _place: Place, **_options: object) -> Holding:
    return Holding()


@register("single", processes="one", equivalence="exact", shares=_shares, holds=_holds)
def single(model: nn.Module, place: Place, *, cores: Literal["share", "all"] = "share") -> Wrapped:
    """One process, one device; gradients of all micro-batches are accumulated in it.

    cores: on CPU, `share` takes what one device of a parallel strategy takes (cores ÷ devices), `all` takes all
    cores of the suite with threads inside each operation. Without meaning on accelerators.
    """
    return Wrapped(model, expected={"wrapper": "none", "world_size": 1, "sharded": False})
