"""What strategies make of the parameters, and which optimizers can update that: said to planning, and found true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.recipes import optimizers
from harness.recipes.obstacles import recipe_obstacle
from harness.schema.suite import Recipe
from harness.strategies import Setting
from harness.strategies import registry as strategies

NAMES = [
    entry.name
    for entry in optimizers.registry.entries()
    if entry.module.startswith("harness.") and not entry.facts.against(Setting(kind="cpu", devices=1), {})
]
STRATEGIES = ("fsdp", "zero1")
Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """By strategy and optimizer: the difference to one process (of the worse rank), or the error."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_ranks", str(folder), *NAMES],
            env={**os.environ, "RANK": str(rank)}, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        _out, errors = rank.communicate(timeout=300)
        assert rank.returncode == 0, errors.decode()[-2000:]
    results: list[Found] = [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]
    return {s: {n: max((r[s][n] for r in results), key=_badness) for n in NAMES} for s in STRATEGIES}


def _badness(result: float | str) -> float:
    return result if isinstance(result, float) else float("inf")


def reason(name: str, strategy: str) -> str | None:
    recipe = Recipe(optimizer=name, lr=0.1, schedule="constant", weight_decay=0.0)
    return recipe_obstacle(recipe, Setting(kind="cpu", devices=2, strategy=strategy))


@pytest.mark.processes
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_as_one_process_or_says_why_not(found: Found, name: str, strategy: str) -> None:
    result, said = found[strategy][name], reason(name, strategy)
    near = 2e-2 if optimizers.registry[name].facts.reordered == "approximate" else 1e-4
    works = isinstance(result, float) and result < near
    assert works == (said is None), (result, said)


@pytest.mark.processes
def test_some_cannot_so_that_the_check_says_something(found: Found) -> None:
    failed = {name for name, result in found["fsdp"].items() if isinstance(result, str)}
    assert failed == {"adafactor", "lamb", "lbfgs", "rprop", "soap"} & {*NAMES}
    assert {name for name, result in found["zero1"].items() if isinstance(result, str)} == {"lbfgs"}


def test_planning_is_told_of_packages_weight_decay_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Recipe(optimizer="sgd", lr=0.1, schedule="constant", weight_decay=0.1)
    assert recipe_obstacle(plain, Setting(kind="cpu", devices=2, strategy="zero1")) is None
    still = plain.model_copy(update={"optimizer": Recipe(optimizer={"name": "sgd", "momentum": 0.0}).optimizer})
    assert "nothing to divide" in (recipe_obstacle(still, Setting(kind="cpu", devices=2, strategy="zero1")) or "")
    assert recipe_obstacle(still, Setting(kind="cpu", devices=2, strategy="fsdp")) is None
    rprop = plain.model_copy(update={"optimizer": Recipe(optimizer="rprop").optimizer})
    assert "set weight_decay = 0" in (recipe_obstacle(rprop, Setting(kind="cpu", devices=1)) or "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lion = plain.model_copy(update={"optimizer": Recipe(optimizer="lion").optimizer})
    assert "pip install 'dynamometer[optimizers]'" in (recipe_obstacle(lion, Setting(kind="cpu", devices=1)) or "")


def test_every_strategy_that_divides_parameters_says_so() -> None:
    told = {entry.name: entry.facts.updates for entry in strategies.entries()}
    assert (told["zero1"], told["fsdp"], told["hsdp"], told["ddp"]) == ("some", "sharded", "sharded", "whole")
