"""Techniques: changes to the model's execution on top of a strategy, applied before it in the order given."""

from __future__ import annotations

from dataclasses import dataclass

from harness.schema.registry import Registry
from harness.strategies import Equivalence


@dataclass(frozen=True)
class TechniqueFacts:
    """What planning must know of a technique."""

    equivalence: Equivalence = "exact"
    source: str = ""


techniques: Registry[TechniqueFacts] = Registry(
    "technique", "harness.strategies.techniques", TechniqueFacts, "harness.techniques"
)
