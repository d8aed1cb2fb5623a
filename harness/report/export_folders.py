"""Runs in formats of other programs that are folders: a registry like that of the formats which are one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.report.export_mlflow import export_mlflow
from harness.report.export_tensorboard import export_tensorboard
from harness.run.stored import StoredRun

FolderFormat = Callable[[StoredRun, Path], None]
"""Writes a run into a folder that is new or empty."""

FOLDERS: dict[str, FolderFormat] = {"tensorboard": export_tensorboard, "mlflow": export_mlflow}
"""Name → function."""
