"""A run as TensorBoard event files: a run per trial with its curves, figures and hyperparameters. Needs no torch.

    <cell>/round1-seed0/events.out.tfevents.…      loss, lr, grad_norm, step_s by step, eval_<metric> by evaluation,
                                                   trial/<metric> once, and a session for the HPARAMS tab

Written with tensorboard's own event writer and protocol buffers.
Source: https://www.tensorflow.org/tensorboard/hyperparameter_tuning_with_hparams
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analyse.scalars import Told, told
from harness.machine.packages import check_installed, extra
from harness.report.whole_folder import whole_folder
from harness.run.stored import StoredRun
from harness.schema.errors import HarnessError
from harness.schema.record import Status

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

HPARAM_METRICS = ("step_s", "samples_per_s", "peak_allocated_bytes", "loss")
"""Metrics that get a column in the HPARAMS tab, beside the held-out ones."""


def export_tensorboard(run: StoredRun, path: Path) -> None:
    """Write the event files into a new folder, for `tensorboard --logdir`.

    Raises HarnessError where tensorboard is not installed or there is nothing to write, StoreError where the folder
    cannot be written.
    """
    check_installed("harness export --format tensorboard", ("tensorboard",), extra("trace"))
    trials = told(run)
    if not trials:
        raise HarnessError(f"{run.folder}: no trial was started, expected at least one to export")
    with whole_folder(path, "event files") as folder:
        _write_columns(folder, trials)
        for trial in trials:
            _write_trial(folder / trial.name, trial)


def _write_columns(folder: Path, trials: list[Told]) -> None:
    """What the HPARAMS tab shows of all trials: settings that differ somewhere, and metrics."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    settings = {name: {trial.asked.get(name) for trial in trials} for trial in trials for name in trial.asked}
    shown = [name for name, values in settings.items() if len(values) > 1] or list(settings)
    tags = list(dict.fromkeys(tag for trial in trials for tag in _metric_tags(trial)))
    content = hparams.hparams_config_pb(
        hparams=[hparams.HParam(name) for name in shown],
        metrics=[hparams.Metric(tag, display_name=tag.removeprefix("trial/")) for tag in tags],
        time_created_secs=trials[0].started,
    )
    writer = _writer(folder)
    _add(writer, content, trials[0].started)
    writer.close()


def _metric_tags(trial: Told) -> list[str]:
    names = [name for name in HPARAM_METRICS if name in trial.figures]
    return [f"trial/{name}" for name in names] + [each.tag for each in trial.scalars if each.tag.startswith("eval_")]


def _write_trial(folder: Path, trial: Told) -> None:
    from tensorboard.plugins.hparams import summary_v2

    writer = _writer(folder)
    start = summary_v2.hparams_pb(dict(trial.asked), trial_id=trial.record.trial.id, start_time_secs=trial.started)
    _add(writer, start, trial.started)
    for each in trial.scalars:
        _add(writer, _scalar(each.tag, each.value), each.at, each.step)
    for name, value in trial.figures.items():
        _add(writer, _scalar(f"trial/{name}", value), trial.ended)
    _add(writer, _session_end(trial), trial.ended)
    writer.close()


def _session_end(trial: Told) -> Any:
    """How the trial ended, for the HPARAMS tab. tensorboard's own function for this needs TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if trial.record.status is Status.OK else api_pb2.STATUS_FAILURE
    ended = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=trial.ended)
    kept = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=ended))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=kept, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _writer(folder: Path) -> EventFileWriter:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(folder))


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _add(writer: EventFileWriter, content: Any, at: float, step: int = 0) -> None:
    from tensorboard.compat.proto.event_pb2 import Event

    writer.add_event(Event(wall_time=at, step=step, summary=content))
