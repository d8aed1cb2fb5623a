"""Packages that need not be installed: what is missing is told, with the command, before anything starts."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import workloads
from harness.cli import app
from harness.machine.packages import check_installed, extra, missing, not_installed
from harness.schema.errors import HarnessError

FOLDER = Path(workloads.__file__).parent
SUITE = """question = "Does it start?"
baseline = {{ strategy = "single" }}
[fixed]
workload = "{workload}"
size = "{size}"
strategy = "single"
"""
PUBLISHED = [("qa", "base"), ("translation", "big"), ("efficientnet", "b0")]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As if transformers were not installed: None among the modules is Python's own sign that one is not there."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    return monkeypatch


def test_what_is_missing_is_said_with_the_command_that_adds_it(without: pytest.MonkeyPatch) -> None:
    assert not_installed(["json", "pydantic"]) is None
    assert missing(["json", "transformers"]) == ["transformers"]
    assert not_installed(["transformers"]) == "transformers is not installed: pip install transformers"
    without.setitem(sys.modules, "sklearn", None)
    both = not_installed(["transformers", "sklearn"])
    assert both == "transformers and scikit-learn are not installed: pip install transformers scikit-learn"
    with pytest.raises(HarnessError) as error:
        check_installed("harness x", ["transformers"], extra("workloads"))
    assert str(error.value) == "harness x: transformers is not installed: pip install 'dynamometer[workloads]'"


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("workload", "size"), PUBLISHED)
def test_published_sizes_name_their_package_before_anything_starts(workload: str, size: str, tmp_path: Path) -> None:
    suite, results = tmp_path / "suite.toml", tmp_path / "results"
    suite.write_text(SUITE.format(workload=workload, size=size))
    done = CliRunner().invoke(app, ["run", str(suite), "--results", str(results)])
    assert isinstance(done.exception, HarnessError)
    assert done.exception.exit_code == 2
    expected = "the package transformers that it needs: pip install transformers"
    assert str(done.exception) == f"{suite}:5: fixed.size: found {size!r}, expected {expected}"
    assert not results.exists()


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("workload", [name for name, _size in PUBLISHED])
def test_own_sizes_do_without_it(workload: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE.format(workload=workload, size="nano"))
    done = CliRunner().invoke(app, ["plan", str(tmp_path / "suite.toml"), "--json"])
    assert done.exit_code == 0, done.exception


def imported(source: str) -> Iterator[str]:
    """Top-level packages that a source imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


def test_every_package_that_a_workload_imports_is_required_by_one() -> None:
    """What is no dependency of the harness itself and in no `requires` would be found missing in mid-run."""
    always = {"torch", "numpy", "scipy", "pydantic", "threadpoolctl", "harness", *sys.stdlib_module_names}
    entries = [entry for entry in workloads.registry.entries() if entry.module.startswith("harness.")]
    required = {name for entry in entries for size in entry.facts.sizes for name in entry.facts.requires_for(size)}
    found = {name for path in FOLDER.rglob("*.py") for name in imported(path.read_text())} - always
    assert found == required
    assert set(imported("import jiwer\ndef f():\n    from gensim.corpora import x\n")) == {"jiwer", "gensim"}
