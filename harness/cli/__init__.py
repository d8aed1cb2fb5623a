"""The command line: the only folder that prints or exits. Results go to stdout, progress and errors to stderr."""

from harness.cli.terminal import app, main

# isort: split
from harness.cli import runs

# isort: split
from harness.cli import ab, baselines, exports, history, look, predict, profile, stored, verdicts

__all__ = [
    "ab",
    "app",
    "baselines",
    "exports",
    "history",
    "look",
    "main",
    "predict",
    "profile",
    "runs",
    "stored",
    "verdicts",
]
