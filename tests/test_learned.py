"""What a trial learned: metrics, scores, gap, target; what its model leaves; useful units of its samples."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.measure.evaluation import evaluate, over_samples, some_of
from harness.measure.session import units_per_sample
from harness.measure.training import build_training
from harness.run.executors import local
from harness.run.learned import learned
from harness.run.merge import merge
from harness.schema.record import Evaluation, Status
from harness.workloads.order import sample_indices
from tests.conftest import make_trial, plugins

FACTS = {"metric": "accuracy", "better": "higher", "target": 0.9}


def at(step: int, **metrics: float) -> Evaluation:
    return Evaluation(step=step, train_s=step / 10, metrics=metrics)


def test_target_is_reached_at_the_first_evaluation_that_does() -> None:
    found = learned([at(10, eval_accuracy=0.5), at(20, eval_accuracy=0.92), at(30, eval_accuracy=0.8)], FACTS)
    assert found == {"eval_accuracy": 0.8, "steps_to_target": 20, "time_to_target_s": 2.0}
    lower = learned(
        [at(10, eval_nats=2.0), at(20, eval_nats=1.0)], {"metric": "nats", "better": "lower", "target": 1.0}
    )
    assert lower["steps_to_target"] == 20


def test_target_that_was_not_reached_is_absent_not_the_end() -> None:
    assert learned([at(10, eval_accuracy=0.5), at(20, eval_accuracy=0.89)], FACTS) == {"eval_accuracy": 0.89}
    assert learned([], FACTS) == {}


def test_gap_is_how_much_worse_held_out_is() -> None:
    higher = learned([at(10, eval_accuracy=0.80, train_accuracy=0.95)], FACTS)
    assert higher["gap_accuracy"] == pytest.approx(0.15)
    lower = learned([at(10, eval_nats=1.5, train_nats=1.1)], {"metric": "nats", "better": "lower", "target": 0})
    assert lower["gap_nats"] == pytest.approx(0.4)


def test_scores_of_all_samples_come_once_and_the_training_metric_with_them() -> None:
    training = build_training(make_trial(workload="leaves", plugins=plugins("tiny", "leaves")), 0, 1, 0)
    assert set(evaluate(training)) == {"eval_accuracy"}
    assert set(evaluate(training, last=True)) == {"eval_accuracy", "eval_classes_seen", "train_accuracy"}
    assert evaluate(training, last=True)["eval_classes_seen"] == 2, "both classes are among all batches together"


def test_training_samples_that_are_judged_are_evenly_over_all() -> None:
    assert some_of(512, 128).tolist() == list(range(0, 512, 4))
    assert some_of(3, 128).tolist() == [0, 1, 2]
    training = build_training(make_trial(), 0, 1, 0)
    own = over_samples(training, training.workload.train, some_of(512, 128), scores=False)
    picked = tuple(tensor[::4] for tensor in training.workload.train)
    with torch.no_grad():
        right, count = training.workload.evaluate(training.model, picked)["accuracy"]
    assert own["accuracy"] == float(right) / count


def test_units_are_those_of_the_samples_trained_on() -> None:
    trial = make_trial(workload="leaves", plugins=plugins("tiny", "leaves"))
    training = build_training(trial, 0, 1, 0)
    taken = np.concatenate([sample_indices(0, step, 16, 512) for step in range(3, 8)])
    assert units_per_sample(training, 3, 5) == pytest.approx(float((taken % 5 + 1).mean()))
    assert units_per_sample(build_training(make_trial(), 0, 1, 0), 3, 5) == 1.0


@pytest.mark.processes
@pytest.mark.parametrize("repeat", [0, 1])
def test_what_a_trained_model_leaves_is_kept_once_per_seed(tmp_path: Path, repeat: int) -> None:
    trial = make_trial(workload="leaves", plugins=plugins("tiny", "leaves"), repeat=repeat)
    done = local.execute(trial, sorted(os.sched_getaffinity(0)), tmp_path)
    assert done.artifacts == ({"a note": f"artifacts/{trial.id}-mode.txt"} if repeat == 0 else {})
    for name in done.artifacts.values():
        assert (tmp_path / name).read_text() == "training=False gradients=False"


@pytest.mark.processes
def test_leaving_nothing_costs_the_file_and_not_the_trial(tmp_path: Path) -> None:
    trial = make_trial(workload="leaves_nothing", plugins=plugins("tiny", "leaves"))
    done = local.execute(trial, sorted(os.sched_getaffinity(0)), tmp_path)
    record, _series = merge(trial, done.ranks, None, started_at=0.0, ended_at=1.0)
    assert record.status is Status.OK
    assert record.per_rank[0].facts["absent"]["artifacts"] == "RuntimeError: no paper left"
    assert not list(tmp_path.iterdir())
