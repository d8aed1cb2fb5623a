"""Planted faults, each caught: what is wrong never gets a figure that may be ranked."""

from __future__ import annotations

import time

import pytest

from harness.schema.record import Phase, Status
from harness.schema.suite import Choice
from tests.conftest import execute, make_trial

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("strategy", ["summed", "unreduced"])
def test_wrong_gradients_of_two_ranks_fail_parity(strategy: str) -> None:
    record, _series = execute(make_trial(strategy, 2))
    assert record.status is Status.PARITY_FAILED
    assert record.parity is not None
    assert record.parity.grad_norm_error is not None
    assert record.parity.grad_norm_error > 0.1


def test_summed_gradients_hide_from_a_check_of_the_loss_alone() -> None:
    """Why parity looks at the norm too: AdamW divides the factor out, the first losses are equal."""
    record, series = execute(make_trial("summed", 2, recipe=make_trial().recipe.model_copy(update={"clip": 2.0**100})))
    assert record.status is Status.PARITY_FAILED
    assert record.parity is not None
    assert record.parity.loss[0] == pytest.approx(record.parity.reference_loss[0], rel=1e-6)
    assert record.parity.grad_norm[0] == pytest.approx(2 * record.parity.reference_grad_norm[0], rel=1e-3)
    assert series.columns["loss"]


def test_frozen_layer_fails_parity() -> None:
    record, _series = execute(make_trial("frozen"))
    assert record.status is Status.PARITY_FAILED


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_that_is_off_is_not_applied(precision: str) -> None:
    record, _series = execute(make_trial("autocast_off", precision=precision))
    assert record.status is Status.NOT_APPLIED
    assert "compute_dtype" in (record.reason or "")
    assert "step_s" not in record.metrics
    right, _series = execute(make_trial("single", precision=precision))
    assert right.status is Status.OK


@pytest.mark.parametrize(
    ("strategy", "ranks", "fact"),
    [
        ("not_sharded", 2, "sharded"),
        ("zero_without", 2, "optimizer_state_share"),
        ("uncompressed", 2, "gradient_compression"),
        ("one_thread", 1, "replicas"),
    ],
)
def test_option_that_does_nothing_is_not_applied(strategy: str, ranks: int, fact: str) -> None:
    record, _series = execute(make_trial(strategy, ranks))
    assert record.status is Status.NOT_APPLIED
    assert fact in (record.reason or "")


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("raise", Status.CRASHED, "planted: the third step raises"),
        ("kill", Status.CRASHED, "SIGKILL"),
        ("memory", Status.OOM, "can't allocate memory"),
        ("exit", Status.CRASHED, ""),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_trial_that_ends_badly_is_a_record(how: str, status: Status, said: str, ranks: int) -> None:
    rank = ranks - 1
    record, _series = execute(make_trial({"name": "ends_badly", "how": how, "rank": rank}, ranks), parity=False)
    assert record.status is status, record.reason
    assert said in (record.reason or "")
    assert record.phase is Phase.WARMUP
    assert "samples_per_s" not in record.metrics
    if ranks == 2 and how in ("raise", "kill", "memory"):
        assert "rank 1" in (record.reason or "")


def test_hang_ends_at_the_timeout_with_every_ranks_stack() -> None:
    asked = make_trial({"name": "ends_badly", "how": "hang", "rank": 1}, 2, timeout_s=4.0)
    began = time.monotonic()
    record, _series = execute(asked, parity=False)
    assert time.monotonic() - began < 4 + 5
    assert record.status is Status.TIMEOUT, record.reason
    assert len(record.per_rank) == 2
    for rank in record.per_rank:
        assert "most recent call first" in rank.stderr_tail
    assert "faults.py" in record.per_rank[1].stderr_tail


def test_loss_that_is_not_a_number_is_diverged_with_the_step() -> None:
    asked = make_trial(workload={"name": "diverging", "step": 12}, global_batch=8, accumulation=2)
    record, series = execute(asked, parity=False)
    assert record.status is Status.DIVERGED
    assert "step 12" in (record.reason or "")
    assert series.columns["loss"][11] is None
    assert series.columns["loss"][10] is not None


@pytest.mark.parametrize("option", ["fused", "foreach"])
def test_optimizer_implementation_is_read_back(option: str) -> None:
    asked = {"name": "adamw", option: True}
    recipe = make_trial().recipe.model_copy(update={"optimizer": Choice.model_validate(asked)})
    record, _series = execute(make_trial(recipe=recipe))
    assert record.status is Status.OK, record.reason
    fact = next(fact for fact in record.applied if fact.fact == option)
    assert fact.asked is True
    assert fact.found is True
