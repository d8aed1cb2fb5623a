"""Packages that need not be installed: which are missing here, and the command that adds them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from harness.schema.errors import HarnessError

PIP_NAMES = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "torch_tb_profiler": "torch-tb-profiler",
    "espeakng_loader": "espeakng-loader",
}
"""Import name → name on the package index, where they differ."""


def missing(modules: Iterable[str]) -> list[str]:
    """Those of these top-level modules that are not installed, by their names on the package index."""
    return [PIP_NAMES.get(each, each) for each in modules if importlib.util.find_spec(each) is None]


def extra(name: str) -> str:
    """The command that adds one of this package's own extras."""
    return f"pip install 'dynamometer[{name}]'"


def not_installed(modules: Iterable[str], install: str = "") -> str | None:
    """`jiwer is not installed: pip install jiwer`, or None where all are. install: the command, where it is another."""
    lacking = missing(modules)
    if not lacking:
        return None
    verb = "is" if len(lacking) == 1 else "are"
    return f"{' and '.join(lacking)} {verb} not installed: {install or pip_install(lacking)}"


def pip_install(names: Iterable[str]) -> str:
    """The command that adds packages by their names on the package index."""
    return f"pip install {' '.join(names)}"


def check_installed(command: str, modules: Iterable[str], install: str = "") -> None:
    """Raise HarnessError, which names the command that cannot run and the one that adds what it needs."""
    if why := not_installed(modules, install):
        raise HarnessError(f"{command}: {why}")
