"""Trials as experiment trackers take them, and as TensorBoard's event files and an MLflow store hold them."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.analyse.scalars import told
from harness.cli import app
from harness.report.export_folders import FOLDERS
from harness.report.export_mlflow import export_mlflow
from harness.report.export_tensorboard import export_tensorboard
from harness.report.whole_folder import whole_folder
from harness.run.store import RunFolder
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError, InputError, StoreError
from harness.schema.record import Evaluation, Record, Status, StepSeries
from tests.trials import a_record, a_run_info, a_trial

TRIAL = a_trial()
SERIES = StepSeries(
    trial_id=TRIAL.id,
    columns={
        "step": [1.0, 2.0, 3.0],
        "timed": [0.0, 1.0, 1.0],
        "loss": [2.0, math.nan, 1.0],
        "grad_norm": [None, 1.5, 1.25],
        "lr": [0.001] * 3,
        "step_s": [0.5, 0.25, 0.25],
        "cpu_s": [1.0] * 3,
    },
)
STARTED, START = "2026-01-01T00:00:00+00:00", 1767225600.0


def a_run(folder: Path, *changes: dict[str, Any]) -> StoredRun:
    """A run with one record for each of these changes."""
    records = [_record(**each) for each in changes or ({},)]
    return StoredRun(folder, a_run_info(), records, series={TRIAL.id: SERIES})


def _record(**changes: Any) -> Record:
    known: dict[str, Any] = {
        "started_at": STARTED,
        "ended_at": "2026-01-01T00:00:09+00:00",
        "evaluations": [Evaluation(step=3, train_s=1.0, metrics={"eval_loss": 1.1})],
    }
    return a_record(changes.pop("trial", TRIAL), **{**known, **changes})


# What is told


def test_values_stand_at_their_step_on_the_training_clock(tmp_path: Path) -> None:
    (found,) = told(a_run(tmp_path))
    by_tag: dict[str, list[tuple[int, float, float]]] = {}
    for each in found.scalars:
        by_tag.setdefault(each.tag, []).append((each.step, each.at - START, each.value))
    assert by_tag == {
        "loss": [(1, 0.5, 2.0), (3, 1.0, 1.0)],
        "grad_norm": [(2, 0.75, 1.5), (3, 1.0, 1.25)],
        "lr": [(1, 0.5, 0.001), (2, 0.75, 0.001), (3, 1.0, 0.001)],
        "step_s": [(1, 0.5, 0.5), (2, 0.75, 0.25), (3, 1.0, 0.25)],
        "eval_loss": [(3, 1.0, 1.1)],
    }
    assert found.name == "gpt-nano_ddp_fp32/round1-seed0"
    assert (found.asked["optimizer"], found.asked["lr"], found.asked["status"]) == ("adamw", 3e-3, "OK")
    assert found.figures == {"step_s": 0.1, "trial_s": 2.5}


def test_a_trial_that_did_something_else_shows_no_speed(tmp_path: Path) -> None:
    (found,) = told(a_run(tmp_path, {"status": Status.PARITY_FAILED, "reason": "loss differs"}))
    assert found.figures == {}
    assert {each.tag for each in found.scalars} == {"loss", "grad_norm", "lr", "eval_loss"}


def test_only_trials_that_were_started_and_each_by_a_name_of_its_own(tmp_path: Path) -> None:
    twice = [{"trial": a_trial(global_batch=batch)} for batch in (16, 32)]
    others = [{"trial": a_trial(kind="trace")}, {"trial": a_trial(strategy="dp"), "status": Status.UNSUPPORTED}]
    names = [each.name for each in told(a_run(tmp_path, *twice, *others))]
    assert len(names) == len(set(names)) == 2
    assert all(name.startswith("gpt-nano_ddp_fp32/round1-seed0-") for name in names)
    odd = told(a_run(tmp_path, {"trial": a_trial(workload="../é")}))
    assert odd[0].name == "nano_ddp_fp32/round1-seed0"


# Folders


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out"

    def interrupted() -> None:
        with whole_folder(target, "thing") as folder:
            (folder / "half").write_text("x")
            raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        interrupted()
    assert list((tmp_path / "new").iterdir()) == []
    target.mkdir()
    with whole_folder(target, "thing") as folder:
        (folder / "all").write_text("x")
        assert not any(target.iterdir())
    assert [path.name for path in target.iterdir()] == ["all"]
    with pytest.raises(InputError, match="expected a folder for the thing that is new or empty"):
        with whole_folder(target, "thing"):
            pass
    with pytest.raises(StoreError, match="thing"), whole_folder(target / "all" / "below", "thing"):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["all", "new", "out"]


@pytest.mark.parametrize(("export", "extra"), [(export_tensorboard, "trace"), (export_mlflow, "mlflow")])
def test_what_is_missing_is_named(export: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(HarnessError, match=rf"(is|are) not installed: pip install 'dynamometer\[{extra}\]'"):
        export(a_run(tmp_path), tmp_path / "out")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    nothing = replace(a_run(tmp_path), records=[_record(status=Status.UNSUPPORTED)])
    with pytest.raises(HarnessError, match="no trial was started"):
        export(nothing, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_folders_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, a_run_info()).folder
    monkeypatch.setitem(FOLDERS, "tensorboard", lambda run, path: path.mkdir())
    done = CliRunner().invoke(app, ["export", str(folder), "--format", "tensorboard", "-o", str(tmp_path / "out")])
    assert (done.exit_code, done.output.strip()) == (0, str(tmp_path / "out"))
    assert (tmp_path / "out").is_dir()
    nowhere = CliRunner().invoke(app, ["export", str(folder), "--format", "mlflow"])
    assert "-o: expected a folder that is new or empty" in str(nowhere.exception)
    unknown = CliRunner().invoke(app, ["export", str(folder), "--format", "tensorbord"])
    assert "did you mean 'tensorboard'?" in str(unknown.exception)


# TensorBoard, read back by its own reader


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_multiplexer",
        reason="tensorboard is not installed: pip install 'dynamometer[trace]'",
    )
    crashed = {"trial": a_trial(repeat=1), "status": Status.CRASHED, "reason": "x"}
    export_tensorboard(a_run(tmp_path / "run", {}, crashed), tmp_path / "out")
    found = reader.EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "out"))
    found.Reload()
    name = "gpt-nano_ddp_fp32/round1-seed0"
    assert set(found.Runs()) == {".", name, "gpt-nano_ddp_fp32/round2-seed0"}
    assert [(each.step, each.value) for each in found.Scalars(name, "loss")] == [(1, 2.0), (3, 1.0)]
    assert found.Scalars(name, "loss")[1].wall_time == START + 1.0
    assert found.Scalars(name, "eval_loss")[0].value == pytest.approx(1.1)
    assert found.Scalars(name, "trial/step_s")[0].value == pytest.approx(0.1)
    assert found.PluginRunToTagToContent("hparams")[name].keys() == {
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
    }
    assert found.PluginRunToTagToContent("hparams")["."].keys() == {"_hparams_/experiment"}


# MLflow, read back by its own client


def test_mlflow_reads_the_store(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'dynamometer[mlflow]'")
    from mlflow import MlflowClient

    crashed = {"trial": a_trial(repeat=1), "status": Status.CRASHED, "reason": "x"}
    export_mlflow(a_run(tmp_path / "run", {}, crashed), tmp_path / "out")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "q"]
    runs = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    run = runs["gpt-nano_ddp_fp32/round1-seed0"]
    assert run.info.status == "FINISHED"
    assert runs["gpt-nano_ddp_fp32/round2-seed0"].info.status == "FAILED"
    assert run.data.params["strategy"] == "ddp"
    assert run.data.tags["trial"] == TRIAL.id
    assert run.data.metrics["trial/step_s"] == pytest.approx(0.1)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value, each.timestamp) for each in history] == [
        (1, 2.0, round(START * 1000) + 500),
        (3, 1.0, round(START * 1000) + 1000),
    ]
