"""Optimizers named by a dotted path: options read from the text, nothing imported before training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.recipes.build import build_optimizer
from harness.recipes.by_path import UnknownPath
from harness.recipes.obstacles import recipe_obstacle
from harness.recipes.optimizers import registry
from harness.schema.record import Status
from harness.schema.suite import Choice, Recipe
from harness.strategies import Setting
from tests.conftest import execute, make_trial

PACKAGE = {
    "__init__.py": "from .inner import Down as Fall\nfrom ._made import *\n",
    "inner.py": """\
import torch

class Down(torch.optim.SGD):
    '''Straight down.'''
    def __init__(self, params, lr=0.1, betas=(0.7, 0.8), scale: float = 1.0, *, deep=None):
        super().__init__(params, lr=lr * scale)
        self.betas = betas

class Any(torch.optim.SGD):
    def __init__(self, params, lr, **kwargs):
        super().__init__(params, lr=lr)

class Rateless(torch.optim.SGD):
    def __init__(self, params, decay=0.0):
        super().__init__(params, lr=0.1)

class Inherits(Down):
    pass
""",
    "_made.py": "import loudly_missing\nMade = type('Made', (), {})\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `falling` that cannot be imported whole: reading it must not try."""
    folder = tmp_path / "falling"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_options_are_read_from_the_class_behind_an_import() -> None:
    entry = registry["falling.Fall"]
    assert list(entry.options) == ["scale", "deep", "beta1", "beta2"]
    assert (entry.options["beta1"].default, entry.summary, entry.facts.class_name) == (0.7, "Straight down.", "Fall")
    assert "falling" not in sys.modules
    assert entry.check({"scale": 2, "beta2": 0.5}, "suite.toml", "optimizer") == []
    (problem,) = entry.check({"scal": 2}, "suite.toml", "optimizer")
    assert problem.nearest == "scale"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("falling.inner.Dwon", "expected a name that falling.inner has (did you mean 'falling.inner.Down'?)"),
        ("falling.outer.Down", "expected a class that can be imported: there is no module falling.outer"),
        ("rising.Up", "expected a class that can be imported: there is no package rising"),
        ("falling.inner.Rateless", "expected an optimizer: Rateless takes no lr"),
        (".Down", "expected a class that can be imported: there is no package "),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, message: str) -> None:
    with pytest.raises(UnknownPath) as error:
        registry[path]
    assert str(error.value).endswith(message)


@pytest.mark.parametrize("path", ["falling.Made", "falling.inner.Any", "falling.inner.Inherits"])
def test_where_the_text_does_not_tell_every_option_passes(path: str) -> None:
    assert registry[path].check({"whatever": 1}, "suite.toml", "optimizer") == []


def test_a_class_without_weight_decay_is_known_to_have_none() -> None:
    recipe = Recipe(optimizer="falling.Fall", lr=0.1, schedule="constant", weight_decay=0.1)
    assert "has no weight decay" in (recipe_obstacle(recipe, Setting(kind="cpu", devices=1)) or "")
    other = recipe.model_copy(update={"optimizer": Choice(name="torch.optim.NAdam")})
    assert recipe_obstacle(other, Setting(kind="cpu", devices=1)) is None


def test_reading_torchs_own_class_imports_no_torch() -> None:
    script = (
        "import sys; from harness.recipes.optimizers import registry\n"
        "assert 'beta1' in registry['torch.optim.NAdam'].options\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_class_is_built_with_the_options_and_both_betas(tmp_path: Path) -> None:
    (tmp_path / "falling" / "_made.py").write_text("")
    recipe = Recipe(
        optimizer={"name": "falling.inner.Down", "scale": 0.5, "beta1": 0.1},
        lr=0.2,
        schedule="constant",
        weight_decay=0.0,
    )
    optimizer, _schedule = build_optimizer(nn.Linear(2, 2), recipe, 10)
    assert (type(optimizer).__name__, optimizer.param_groups[0]["lr"]) == ("Down", 0.1)
    assert vars(optimizer)["betas"] == (0.1, 0.8)
    assert isinstance(optimizer, torch.optim.Optimizer)


@pytest.mark.processes
def test_it_trains_like_the_registered_one() -> None:
    losses = []
    for optimizer in ("torch.optim.NAdam", "nadam"):
        recipe = Recipe(optimizer=optimizer, lr=1e-2, schedule="constant", weight_decay=0.01, clip=1.0)
        record, series = execute(make_trial(recipe=recipe))
        assert record.status is Status.OK, record.reason
        assert next(fact.found for fact in record.applied if fact.fact == "optimizer") == "NAdam"
        losses.append(series.columns["loss"][:10])
    assert losses[0] == losses[1]
