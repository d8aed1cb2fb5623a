"""A run as an MLflow experiment in a folder: a run per trial with its parameters, metrics by step and tags.

Nothing is sent anywhere: MLflow's telemetry is switched off before it is imported, and the store is a file of SQLite
(since 3.7 MLflow refuses stores of plain files unless told otherwise).
Source: https://mlflow.org/docs/latest/ml/tracking/
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analyse.scalars import Told, told
from harness.machine.packages import check_installed, extra
from harness.report.whole_folder import whole_folder
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError
from harness.schema.record import Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

PER_BATCH = 1000
"""Metrics that MLflow takes at once."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
DATABASE = "mlflow.db"
NEEDED = ("mlflow", "sqlalchemy", "alembic")


def export_mlflow(run: StoredRun, path: Path) -> None:
    """Write an experiment into a new folder, for `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`.

    Raises HarnessError where mlflow is not installed or there is nothing to write, StoreError where the folder cannot
    be written.
    """
    check_installed("harness export --format mlflow", NEEDED, extra("mlflow"))
    trials = told(run)
    if not trials:
        raise HarnessError(f"{run.folder}: no trial was started, expected at least one to export")
    with whole_folder(path, "MLflow store") as folder:
        client = _client(folder)
        kept = path.resolve() / "artifacts"
        tags = {"suite": run.info.suite_file, "machine_key": run.info.machine_key, "run_folder": run.folder.name}
        experiment = client.create_experiment(run.info.question[:200], artifact_location=kept.as_uri(), tags=tags)
        for trial in trials:
            _write_trial(client, experiment, trial)


def _client(folder: Path) -> MlflowClient:
    os.environ.update(QUIET)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / DATABASE}")


def _write_trial(client: MlflowClient, experiment: str, trial: Told) -> None:
    from mlflow.entities import Metric, Param, RunTag

    record, started, ended = trial.record, round(trial.started * 1000), round(trial.ended * 1000)
    created = client.create_run(experiment, start_time=started, run_name=trial.name)
    run_id = created.info.run_id
    tags = {"trial": record.trial.id, "cell": record.trial.cell, "status": record.status.value}
    tags |= {"reason": record.reason} if record.reason else {}
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in trial.asked.items()],
        tags=[RunTag(name, str(value)[:5000]) for name, value in tags.items()],
    )
    metrics = [Metric(each.tag, each.value, round(each.at * 1000), each.step) for each in trial.scalars]
    metrics += [Metric(f"trial/{name}", value, ended, 0) for name, value in trial.figures.items()]
    for batch in _batches(metrics):
        client.log_batch(run_id, metrics=batch)
    client.set_terminated(run_id, "FINISHED" if record.status is Status.OK else "FAILED", ended)


def _batches(metrics: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(metrics), PER_BATCH):
        yield metrics[start : start + PER_BATCH]
