"""Plug-in for pytest: benchmarks of pytest-benchmark get CPU seconds, an anchor, the machine's key and our verdicts

It does nothing unless `--harness-benchmarks`, `--harness-compare` or the setting `harness_benchmarks` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.measure.anchor import Round

NAME = "harness benchmarks"
"""Of the part that is only there where it is asked for."""
ROUNDS = 8
"""A verdict needs 6; two sessions are compared without pairs, which takes a few more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("harness", "Dynamometer with pytest-benchmark")
    group.addoption(
        "--harness-benchmarks",
        action="store_true",
        help="benchmarks get CPU seconds and an anchor; saved runs go to a folder per machine key",
    )
    group.addoption(
        "--harness-compare",
        metavar="FILE_OR_ID",
        help="verdicts against a file or folder, or a saved run's number or name; exit codes as harness gate",
    )
    group.addoption(
        "--harness-rounds",
        type=int,
        default=ROUNDS,
        metavar="N",
        help="rounds of fresh processes for benchmarks that use the fixture fresh_rounds (%(default)s)",
    )
    parser.addini("harness_benchmarks", type="bool", default=False, help="as --harness-benchmarks, always")


def pytest_configure(config: pytest.Config) -> None:
    """Begin, where it is asked for."""
    asked = config.option.harness_compare or config.option.harness_benchmarks or config.getini("harness_benchmarks")
    if not asked:
        return
    if config.option.harness_rounds < 1:
        raise pytest.UsageError(f"--harness-rounds: found {config.option.harness_rounds}, expected 1 or more")
    if not config.pluginmanager.has_plugin("benchmark"):
        raise pytest.UsageError(
            "--harness-benchmarks: expected the plug-in that it adds to: pip install pytest-benchmark"
        )
    from harness.pytest_plugin.session import Benchmarks

    config.pluginmanager.register(Benchmarks(config), NAME)


@pytest.fixture
def fresh_rounds(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., list[Round]]:
    """`fresh_rounds(one_round, device="cpu")`: a benchmark whose work is done in processes of their own.

    one_round: starts fresh processes, waits for them and returns their seconds and those of the anchor beside them
    (`harness.measure.anchor.Round`). It is called once per round; pytest-benchmark's figures are of these seconds.
    """
    active = request.config.pluginmanager.get_plugin(NAME)
    if active is None:
        pytest.fail(
            "fresh_rounds: expected pytest with --harness-benchmarks, or harness_benchmarks = true", pytrace=False
        )
    return active.fresh_rounds(benchmark)  # type: ignore[no-any-return]
