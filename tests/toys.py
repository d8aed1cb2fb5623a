"""Registered things of known facts, so that tests of the parent do not depend on the built-in ones."""

from __future__ import annotations

from typing import Any

import pytest

from harness.recipes.optimizers import registry as optimizers
from harness.recipes.regularizers import Regularizer
from harness.recipes.regularizers import registry as regularizers
from harness.recipes.schedules import registry as schedules
from harness.schema.registry import Registry
from harness.schema.suite import Choice, Recipe
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from harness.strategies.techniques import techniques
from harness.workloads import registry as workloads

RECIPE = Recipe(
    optimizer=Choice(name="down"), lr=0.1, schedule=Choice(name="flat"), weight_decay=0.0, clip=1.0, regularizers=()
)


def plain() -> None:
    """Take no option."""


def tuned(*, depth: int = 2, fast: bool = False) -> None:
    """Take two options."""


def alone(*, cores: str = "share") -> None:
    """One process."""


def deeper(*, depth: int = 4) -> Regularizer:
    """Sets an option that some workloads have."""
    return Regularizer(workload={"depth": depth})


def decaying(*, decay: float = 0.5) -> Regularizer:
    """Sets a key of the recipe."""
    return Regularizer(recipe={"weight_decay": decay})


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries with nothing but toys in them, for the length of a test."""

    def only(registry: Registry[Any], **entries: tuple[Any, dict[str, Any]]) -> None:
        monkeypatch.setattr(registry, "_entries", {})
        monkeypatch.setattr(registry, "_loaded", True)
        for name, (function, facts) in entries.items():
            registry.register(name, **facts)(function)

    facts = {"unit": "token", "metric": "loss", "better": "lower", "target": 1.0, "recipe": RECIPE}
    only(
        workloads,
        toy=(tuned, {**facts, "sizes": {"nano": {}, "mini": {}}, "global_batch": 16, "micro_batch": 8}),
        other=(plain, {**facts, "sizes": {"tiny": {}}, "global_batch": 8, "micro_batch": 8}),
        needy=(plain, {**facts, "sizes": {"tiny": {}}, "requires": ("a_package_nobody_has",)}),
    )
    only(
        strategies,
        single=(alone, {"shares": lambda devices, cores="share": devices if cores == "all" else 1}),
        ddp=(tuned, {"processes": "per_device", "min_devices": 2, "equivalence": "reordered"}),
        dp=(plain, {"min_devices": 2, "splits_micro_batch": True, "accelerator_only": "needs two accelerators"}),
        grid4=(plain, {"processes": "per_device", "min_devices": 4}),
    )
    only(precisions, fp32=(plain, {}), bf16=(plain, {"equivalence": "approximate"}))
    only(techniques, checkpointing=(plain, {}), compiled=(tuned, {}))
    only(optimizers, down=(tuned, {}), adam=(plain, {}))
    only(regularizers, deeper=(deeper, {}), decaying=(decaying, {}))
    only(schedules, flat=(plain, {}), cosine=(plain, {}))
