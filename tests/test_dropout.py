"""Dropout and parity: off in the compared steps, back afterwards, masks of different ranks from different streams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.measure.dropout import Dropout, rates_of, without_dropout
from harness.measure.training import Training, build_training
from harness.schema.record import Record, Status
from harness.schema.trial import Trial
from tests.conftest import execute, make_trial, plugins

GPT: dict[str, Any] = {"workload": {"name": "gpt", "dropout": 0.1}, "size": "nano", "steps": 3, "warmup_steps": 8}
FAULTS = plugins("tiny", "faults", "parity_faults")
processes = pytest.mark.processes


def built(**changes: Any) -> Training:
    return build_training(make_trial(**changes), 0, 1, 0)


def fact(record: Record, name: str) -> Any:
    return next(fact.found for fact in record.applied if fact.fact == name)


class Odd(nn.Module):
    """Everything that looks like a rate and everything that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_dropout, self.drop_last, self.dropout, self.p, self.dropped = 0.2, True, 0.0, 0.5, 3
        self.inner = nn.ModuleList([nn.Dropout(0.1), nn.LSTM(2, 2, 2, dropout=0.3), nn.AlphaDropout(0.4)])


def test_rates_are_found_wherever_modules_keep_them_and_nothing_else_is() -> None:
    found = {(type(module).__name__, name, rate) for module, name, rate in rates_of([Odd()])}
    assert found == {
        ("Odd", "attention_dropout", 0.2),
        ("Dropout", "p", 0.1),
        ("LSTM", "dropout", 0.3),
        ("AlphaDropout", "p", 0.4),
    }


def test_dropout_is_off_inside_through_evaluation_and_back_afterwards() -> None:
    training = built(**GPT)
    kept = [rate for _module, _name, rate in rates_of([training.model])]
    assert len(kept) == 5  # embeddings, and attention and residual branches of two blocks
    (batch,) = list(training.batches(0))[:1]
    with without_dropout(training) as dropout:
        training.model.eval()
        training.model.train()
        losses = {training.workload.loss(training.model, batch).item() for _ in range(2)}
        assert len(losses) == 1
        assert "5 rates" in dropout.facts()["dropout"]
        assert "random_numbers" not in dropout.facts()
    assert [rate for _module, _name, rate in rates_of([training.model])] == kept
    losses = {training.workload.loss(training.model, batch).item() for _ in range(2)}
    assert len(losses) == 2, "control: with dropout two forward passes differ"


def test_restoring_twice_does_not_undo_a_later_change() -> None:
    training = built(**GPT)
    module, name, rate = rates_of([training.model])[0]
    dropout = Dropout(training)
    assert getattr(module, name) == 0
    dropout.restore()
    assert getattr(module, name) == rate
    setattr(module, name, 0.7)
    dropout.restore()
    assert getattr(module, name) == 0.7


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), lambda: __import__("random").random(),
                                  lambda: __import__("numpy").random.rand()])  # fmt: skip
def test_random_numbers_that_are_drawn_all_the_same_are_noticed(draw: Any) -> None:
    training = built()
    with without_dropout(training) as dropout:
        training.step()
        assert dropout.facts() == {}
        draw()
        assert "could not be switched off" in dropout.facts()["random_numbers"]


@processes
@pytest.mark.parametrize(("strategy", "ranks"), [("single", 1), ("ddp", 2), ("fsdp", 2), ("dp_threads", 2)])
def test_model_with_dropout_is_compared_without_it(strategy: str, ranks: int) -> None:
    layout = {"processes": 1, "shares": 2, "accumulation": 2} if strategy == "dp_threads" else {}
    record, series = execute(make_trial(strategy, ranks, **GPT, **layout))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    assert record.parity.steps == 5
    assert "rates" in record.per_rank[0].facts["dropout"]
    assert fact(record, "dropout_streams") == (ranks if record.trial.processes == ranks else 1)
    plain, without = execute(make_trial(strategy, ranks, **{**GPT, "workload": "gpt"}, **layout))
    assert "dropout" not in plain.per_rank[0].facts
    losses, undropped = series.columns["loss"], without.columns["loss"]
    assert losses[:5] == pytest.approx(undropped[:5], rel=1e-5)
    assert losses[5] != pytest.approx(undropped[5], rel=1e-4), "dropout is back at the sixth step"


@processes
def test_dropout_left_on_would_fail_parity() -> None:
    """Negative control: what the comparison says of masks that differ."""
    trial = make_trial("hides_dropout", plugins=FAULTS, **GPT)
    record, _series = execute(trial)
    assert record.status is Status.PARITY_FAILED
    assert "random_numbers" in record.per_rank[0].facts


@processes
def test_comparison_ends_where_a_short_warmup_ends() -> None:
    record, _series = execute(make_trial("ddp", 2, **{**GPT, "warmup_steps": 2}))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.steps == 2


@processes
def test_model_that_draws_what_nothing_switches_off_is_unchecked_with_the_reason() -> None:
    trial = make_trial("ddp", 2, workload="noisy", global_batch=8, accumulation=1, plugins=FAULTS)
    record, _series = execute(trial)
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "unchecked"
    assert "could not be switched off (torch on cpu)" in (record.parity.reason or "")


def masked(strategy: str, dropout: float) -> Trial:
    changes = GPT | {"workload": {"name": "gpt", "dropout": dropout}}
    return make_trial(strategy, 2, plugins=FAULTS, **changes)


@processes
@pytest.mark.parametrize("dropout", [0.1, 0.0])
def test_masks_that_are_equal_on_all_ranks_are_not_applied(dropout: float) -> None:
    record, _series = execute(masked("same_masks", dropout))
    assert record.status is Status.NOT_APPLIED
    assert "dropout_streams: asked 2, found 1" in (record.reason or "")
