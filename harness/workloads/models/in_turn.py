"""A forward pass as pieces called one after another, as a pipeline divides them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def in_turn(pieces: Iterable[nn.Module], inputs: Tensor) -> Tensor:
    """What the last piece returns, each being given what the one before returned."""
    x = inputs
    for piece in pieces:
        x = piece(x)
    return x
