"""Every strategy × precision trains for real on CPU and is as near to one process as it declares."""

from __future__ import annotations

import pytest

from harness.schema.record import Status
from tests.conftest import execute, make_trial

pytestmark = pytest.mark.processes

CELLS = [
    ("single", 1, "fp32"),
    ("single", 1, "bf16"),
    ("single", 1, "fp16"),
    ("ddp", 2, "fp32"),
    ("ddp", 2, "bf16"),
    ({"name": "ddp", "gradient_as_bucket_view": True, "static_graph": True}, 2, "fp32"),
    ("fsdp", 2, "fp32"),
    ("fsdp", 2, "fp16"),
    ({"name": "fsdp", "reshard_after_forward": False}, 2, "bf16"),
    ({"name": "fsdp", "cpu_offload": True}, 2, "fp32"),
    ("zero1", 2, "fp32"),
    ("zero1", 2, "fp16"),
    ("hsdp", 4, "fp32"),
    ("dp_threads", 2, "fp32"),
    ("dp_threads", 2, "bf16"),
]


def layout(strategy: object, ranks: int) -> dict[str, int]:
    """What a plan would say of a strategy that spreads one process over the devices."""
    return {"processes": 1, "shares": ranks, "accumulation": 2} if strategy == "dp_threads" else {}


@pytest.mark.parametrize(("strategy", "ranks", "precision"), CELLS)
def test_cell_is_applied_and_learns_as_one_process_does(strategy: object, ranks: int, precision: str) -> None:
    record, series = execute(make_trial(strategy, ranks, precision=precision, **layout(strategy, ranks)))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    assert record.parity.loss_error is not None
    if precision == "fp32":
        assert record.parity.loss_error < 1e-5
        assert record.parity.grad_norm_error is not None
        assert record.parity.grad_norm_error < 1e-5
    facts = {fact.fact: fact.found for fact in record.applied}
    assert facts["compute_dtype"] == {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[precision]
    assert facts["world_size"] == (1 if strategy == "dp_threads" else ranks)
    assert len(series.columns["loss"]) == record.metrics["warmup_steps"] + 10
    assert record.metrics["window_samples"] == 160


def test_sharding_divides_the_parameters_and_ddp_does_not() -> None:
    share = {}
    for name in ("ddp", "fsdp"):
        record, _series = execute(make_trial(name, 2))
        share[name] = next(fact.found for fact in record.applied if fact.fact == "local_share")
    assert share["ddp"] == 1.0
    assert 0.45 < share["fsdp"] < 0.6


@pytest.mark.parametrize("compress", ["fp16", "powersgd"])
def test_compressed_gradients_are_near_and_the_hook_is_read_back(compress: str) -> None:
    record, _series = execute(make_trial({"name": "ddp", "compress": compress}, 2))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.equivalence == "approximate"
    assert record.parity.loss_error is not None
    assert record.parity.loss_error > 1e-7, "parity must see the compression at work"
    assert next(fact.found for fact in record.applied if fact.fact == "gradient_compression") == compress
    plain, _series = execute(make_trial("ddp", 2))
    assert next(fact.found for fact in plain.applied if fact.fact == "gradient_compression") == "none"


def test_optimizer_state_is_divided_by_zero_and_fsdp_and_whole_under_ddp() -> None:
    share = {}
    for name in ("ddp", "zero1", "fsdp"):
        record, _series = execute(make_trial(name, 2))
        share[name] = next(fact.found for fact in record.applied if fact.fact == "optimizer_state_share")
    assert share["ddp"] == 1.0
    assert 0.3 < share["zero1"] < 0.7
    assert 0.45 < share["fsdp"] < 0.6


def test_every_replica_of_dp_threads_has_a_thread_of_its_own() -> None:
    record, _series = execute(make_trial("dp_threads", 2, **layout("dp_threads", 2)))
    assert next(fact.found for fact in record.applied if fact.fact == "replicas") == 2
    assert "peak_allocated_bytes" not in record.metrics, "the tracker would see a part of the tensors only"
    absent = record.per_rank[0].facts["absent"]
    assert "thread" in absent["memory"]
    assert "thread" in absent["forward_s"]
    assert record.metrics["forward_backward_s"] > 0
    assert "forward_s" not in record.metrics


def test_fsdp_keeps_or_frees_gathered_parameters_as_asked() -> None:
    for asked in (True, False):
        record, _series = execute(make_trial({"name": "fsdp", "reshard_after_forward": asked}, 2))
        found = next(fact for fact in record.applied if fact.fact == "resharded_after_forward")
        assert found.found is asked
        assert found.ok


def test_accumulation_does_not_change_the_maths() -> None:
    losses = []
    for micro_batch, accumulation in ((4, 2), (8, 1)):
        trial = make_trial("ddp", 2, micro_batch=micro_batch, accumulation=accumulation)
        _record, series = execute(trial, parity=False)
        losses.append(series.columns["loss"][:10])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_checkpointing_changes_memory_and_not_the_maths() -> None:
    record, _series = execute(make_trial("ddp", 2, techniques=["checkpointing"]))
    assert record.status is Status.OK, record.reason
    assert next(fact.found for fact in record.applied if fact.fact == "checkpointed_blocks") == 3


def test_overflow_is_skipped_and_counted() -> None:
    asked = {"name": "fp16", "init_scale": 2.0**40}
    record, series = execute(make_trial(precision=asked, steps=20, warmup_steps=15))
    assert record.status is Status.OK, record.reason
    assert record.metrics["skipped_steps"] > 0
    assert record.metrics["loss_scale"] < 2.0**40
    assert series.columns["loss_scale"][0] < 2.0**40  # type: ignore[operator]
    overflows = record.per_rank[0].facts["overflow_steps"]
    assert overflows == list(range(1, len(overflows) + 1)), "the scale is too large from the first step on"
    assert len(overflows) == record.metrics["skipped_steps"]
    assert record.metrics["loss_scale"] == 2.0 ** (40 - len(overflows)), "each overflow halves the scale"
    calm, _series = execute(make_trial(precision="fp16"))
    assert calm.metrics["skipped_steps"] == 0
    assert calm.per_rank[0].facts["overflow_steps"] == []


def test_series_is_whole_and_in_order_when_evaluations_pause_the_window() -> None:
    record, series = execute(make_trial("fsdp", 2, eval_every=3, warmup_steps=6))
    assert record.status is Status.OK, record.reason
    assert series.columns["step"] == [float(step) for step in range(1, 17)]
    assert series.columns["timed"] == [0.0] * 6 + [1.0] * 10
    assert {len(column) for column in series.columns.values()} == {16}
    assert [evaluation.step for evaluation in record.evaluations] == [3, 6, 9, 12, 15, 16]
