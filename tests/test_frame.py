"""Records as tables: groups, labels, baseline, metrics, steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from harness.analyse.frame import is_baseline, steps_frame, trials_frame
from harness.schema.suite import Choice, Recipe
from tests import synthetic_run as made


def test_one_row_per_trial_with_every_metric_as_a_column() -> None:
    run = made.synthetic_run()
    frame = trials_frame(run)
    assert len(frame) == len(run.records)
    assert list(frame["trial_id"]) == [record.trial.id for record in run.records]
    for row, record in zip(frame.to_dict("records"), run.records, strict=True):
        assert {name: row[name] for name in record.metrics} == record.metrics
        assert row["status"] == record.status.value
    memory = frame.loc[frame["status"] == "OK", "peak_allocated_bytes"]
    assert memory.isna().sum() == 40, "memory is measured in the first of three rounds only; absent is NaN, not 0"


def test_cells_are_grouped_by_what_the_baseline_does_not_name() -> None:
    frame = trials_frame(made.synthetic_run())
    assert list(frame["group_label"].unique()) == ["gpt/nano", "resnet/nano"]
    assert frame.groupby("group")["cell"].nunique().tolist() == [12, 12]
    assert set(frame.loc[frame["is_baseline"], "label"]) == {"single fp32"}
    labels = set(frame["label"])
    assert "fsdp bf16 (reshard_after_forward=false)" in labels
    assert frame.groupby("group")["label"].nunique().tolist() == [12, 12], "a label tells a cell from all of its group"


def test_a_key_that_only_the_group_has_goes_into_its_label_where_it_is_needed() -> None:
    frame = trials_frame(made.many_groups(3))
    assert list(frame["group_label"].unique()) == [f"gpt/nano, global batch {16 * n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ({"strategy": "single", "precision": "fp32"}, 2 * 3),
        ({"strategy": {"name": "single", "cores": "all"}, "precision": "bf16"}, 2 * 3),
        ({"strategy": "horovod"}, 0),
        ({}, 0),
        ({"recipe": {"lr": 3e-3}, "strategy": "single", "precision": "fp32"}, 2 * 3),
        ({"recipe": {"lr": 1e-3}, "strategy": "single"}, 0),
        ({"techniques": [], "strategy": "single", "precision": "fp32"}, 2 * 3),
        ({"devices": "auto", "strategy": "single", "precision": "fp32"}, 2 * 3),
        ({"global_batch": 32, "strategy": "single"}, 0),
    ],
)
def test_the_baseline_is_the_cell_that_has_all_its_values(baseline: dict[str, object], expected: int) -> None:
    run = made.synthetic_run()
    info = made.run_info(len(run.records), baseline=baseline)
    assert sum(is_baseline(info, record.trial) for record in run.records) == expected


def test_compared_recipes_and_techniques_are_told_apart() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",), truth={"single": 1.0}, precisions={"fp32": 1.0}, rounds=1))
    record = run.records[0]
    changed = [
        record.trial.model_copy(update={"recipe": Recipe(optimizer=Choice(name="sgd"), lr=0.1)}),
        record.trial.model_copy(update={"techniques": (Choice(name="checkpointing"),)}),
    ]
    records = [record, *(record.model_copy(update={"trial": trial}) for trial in changed)]
    info = made.run_info(3, baseline={"recipe": {"lr": 3e-3}, "techniques": []}, compared_keys=["recipe", "techniques"])
    frame = trials_frame(replace(run, records=records, info=info))
    assert frame["group"].nunique() == 1
    assert frame["label"].nunique() == 3
    assert frame["label"].str.contains("checkpointing").tolist() == [False, False, True]
    assert frame["is_baseline"].tolist() == [True, False, False]


def test_reference_executions_are_no_trials() -> None:
    run = made.one_round()
    record = run.records[0]
    reference = record.model_copy(update={"trial": record.trial.model_copy(update={"kind": "reference"})})
    assert len(trials_frame(replace(run, records=[*run.records, reference]))) == len(run.records)


def test_an_empty_run_has_an_empty_frame() -> None:
    run = replace(made.one_cell(), records=[])
    frame = trials_frame(run)
    assert frame.empty
    assert "status" in frame
    assert steps_frame(run, frame).empty


def test_steps_accumulate_training_seconds() -> None:
    run = made.one_cell()
    trials = trials_frame(run)
    steps = steps_frame(run, trials)
    assert len(steps) == 3 * 41
    first = steps[steps["trial_id"] == trials["trial_id"][0]]
    assert first["train_s"].iloc[-1] == pytest.approx(first["step_s"].sum())
    assert first["step"].tolist() == list(range(1, 42))


def test_holes_in_series_stay_holes() -> None:
    run = made.with_holes()
    steps = steps_frame(run, trials_frame(run))
    assert steps["loss"].isna().any()
    longest = steps.groupby("trial_id")["step"].max()
    assert longest.max() == 41
    ends = steps[steps["step"] > 38]
    assert ends["train_s"].isna().all(), "seconds after a missing step are unknown, not zero"
    assert not math.isnan(steps["step"].max())
    assert pd.api.types.is_float_dtype(steps["loss"].astype(float))
