"""A model of one's own: the example of docs/own-model.md runs as it stands; two tensors make a workload."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.run.stored import find_runs, read_run
from harness.workloads import Workload
from harness.workloads.tensors import from_tensors

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
MOST_LINES = 25


@pytest.mark.processes
def test_the_example_learns(tmp_path: Path) -> None:
    model = EXAMPLES / "own_model.py"
    assert len(model.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    command = [sys.executable, "-m", "harness.cli", "run", str(EXAMPLES / "own_model.toml"), f"--plugin={model}"]
    command += [f"--results={tmp_path / 'results'}", "--where=recipe.lr=0.003", "--where=recipe.optimizer=adamw"]
    done = subprocess.run(command, env={**os.environ, "CI": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = find_runs(tmp_path / "results")
    stored = read_run(run)
    assert [record.status for record in stored.records] == ["OK"] * 3
    (facts,) = stored.info.workloads.values()
    best = max(record.metrics["eval_accuracy"] for record in stored.records)
    assert best > facts["trivial"]["majority"] + 0.2


def classes(inputs: torch.Tensor, targets: torch.Tensor, **options: float) -> Workload:
    return from_tensors(lambda: nn.Linear(inputs.shape[1], 3), inputs, targets, **options)  # type: ignore[arg-type]


def test_samples_are_held_out_by_content_whatever_their_order() -> None:
    inputs, targets = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
    one, other = classes(inputs, targets), classes(inputs.flip(0), targets.flip(0))
    assert len(one.held_out[0]) == 10
    assert torch.equal(one.held_out[0], other.held_out[0].flip(0))
    assert one.classes == 3


def test_the_same_inputs_are_never_in_both_parts() -> None:
    inputs = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)).repeat(6, 1)
    found = classes(inputs, torch.arange(60) % 3)
    kept, held = ({tuple(row.tolist()) for row in part[0]} for part in (found.train, found.held_out))
    assert kept
    assert held
    assert not kept & held


def test_baselines_are_those_of_the_training_part() -> None:
    inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    found = classes(inputs, (torch.arange(50) < 40).long())
    most = found.train[1].mode().values
    assert found.trivial == {"majority": pytest.approx(float((found.held_out[1] == most).double().mean()))}
    values = from_tensors(lambda: nn.Linear(4, 1), inputs, inputs.sum(1, keepdim=True))
    mean = values.train[1].mean()
    assert values.trivial["mean"] == pytest.approx(float(((values.held_out[1] - mean) ** 2).mean()), rel=1e-5)
    model = nn.Linear(4, 1)
    with torch.no_grad():
        total, count = values.evaluate(model, values.held_out)["mse"]
        assert float(total) / count == pytest.approx(float(values.loss(model, values.held_out)))


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [(torch.zeros(4, 2), torch.zeros(3)), (torch.zeros(1, 2), torch.zeros(1)), (torch.zeros(8, 2), torch.zeros(8))],
)
def test_tensors_that_make_no_workload_are_refused(inputs: torch.Tensor, targets: torch.Tensor) -> None:
    with pytest.raises(ValueError):
        from_tensors(lambda: nn.Linear(2, 1), inputs, targets)
