"""Communicated bytes are those that really pass: by hand for each strategy, with real ranks and gloo."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from harness.machine import collectives
from harness.machine.collectives import watched_collectives
from harness.run.reduction import over_ranks
from harness.schema.metrics import metric
from harness.schema.record import Record, Status
from tests.conftest import execute, make_trial
from tests.trials import a_rank, a_trial

FP32 = 4
PARAMETERS = (16 * 32 + 32) + (32 * 32 + 32) + (32 * 2 + 2)
"""of the tiny plug-in; its blocks are its linear layers, and two ranks divide each without a rest"""
MICRO_BATCHES = 2


def communicated(strategy: Any, ranks: int = 2) -> Record:
    record, _series = execute(make_trial(strategy, ranks=ranks, steps=2, warmup_steps=5, eval_every=0))
    assert record.status is Status.OK, record.reason
    assert record.metrics["parameters"] == PARAMETERS
    return record


def by_collective(record: Record) -> dict[str, float]:
    parts = {name: value for name, value in record.metrics.items() if name.startswith("communicated_")}
    total = parts.pop("communicated_bytes")
    assert sum(parts.values()) == total
    return {name.removeprefix("communicated_").removesuffix("_bytes"): value for name, value in parts.items()}


@pytest.mark.processes
def test_ddp_all_reduces_its_gradients_once_a_step() -> None:
    assert by_collective(communicated("ddp")) == {"all_reduce": PARAMETERS * FP32}


@pytest.mark.processes
def test_compressed_gradients_are_half_the_bytes() -> None:
    assert by_collective(communicated({"name": "ddp", "compress": "fp16"})) == {"all_reduce": PARAMETERS * 2}


@pytest.mark.processes
def test_powersgd_is_counted_although_it_communicates_from_callbacks() -> None:
    """Factors of rank 2 of two matrices; the third would not be smaller as factors and goes whole, as do biases."""
    factors = 2 * ((16 + 32) + (32 + 32))
    whole = 32 * 2 + (32 + 32 + 2)
    expected = {"all_reduce": (factors + whole) * FP32}
    assert by_collective(communicated({"name": "ddp", "compress": "powersgd", "powersgd_rank": 2})) == expected


@pytest.mark.processes
def test_fsdp_gathers_for_both_passes_and_scatters_gradients() -> None:
    """The norms of divided gradients are one more number each, which a mode that rests inside DTensor would miss."""
    record = communicated("fsdp")
    whole = PARAMETERS * FP32
    expected = {"all_gather": MICRO_BATCHES * 2 * whole, "reduce_scatter": whole, "all_reduce": 6 * FP32}
    assert by_collective(record) == expected
    calls = record.per_rank[0].facts["communication"]["calls"]
    assert calls == {"all_gather": MICRO_BATCHES * 2 * 3, "reduce_scatter": 3, "all_reduce": 1}


@pytest.mark.processes
def test_zero1_sends_the_updated_parameters_around() -> None:
    expected = {"all_reduce": PARAMETERS * FP32, "broadcast": PARAMETERS * FP32}
    assert by_collective(communicated("zero1")) == expected


@pytest.mark.processes
def test_one_process_communicates_nothing_and_threads_do_so_unseen() -> None:
    assert by_collective(communicated("single", ranks=1)) == {}
    trial = make_trial("dp_threads", processes=1, shares=2, devices=2, device_slots=2, accumulation=2, steps=2)
    record, _series = execute(trial.model_copy(update={"warmup_steps": 5}))
    assert "communicated_bytes" not in record.metrics
    assert "share memory" in record.per_rank[0].facts["absent"]["communication"]


@pytest.mark.processes
def test_collectives_that_cannot_be_seen_cost_the_figure() -> None:
    """Negative control: an engine that communicates past the dispatcher, and says nothing of it."""
    record = communicated("smuggled")
    assert not [name for name in record.metrics if name.startswith("communicated_")]
    assert "1 of 1 collectives of a step could not be seen" in record.per_rank[0].facts["absent"]["communication"]


# In this process


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one rank."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def in_another_thread() -> None:
    thread = threading.Thread(target=lambda: dist.all_reduce(torch.ones(10)))
    thread.start()
    thread.join()


@pytest.mark.usefixtures("alone")
def test_functions_take_the_count_along_into_other_threads() -> None:
    original = dist.all_reduce
    with watched_collectives() as seen:
        in_another_thread()
        dist.all_reduce(torch.ones(5))
    assert seen.bytes_ == {"all_reduce": 60}
    assert (seen.calls, seen.unseen) == ({"all_reduce": 2}, 0)
    assert dist.all_reduce is original


@pytest.mark.usefixtures("alone")
def test_what_other_threads_do_would_be_missed_and_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectives, "FUNCTIONS", ())
    with watched_collectives() as seen:
        in_another_thread()
    assert (seen.calls, seen.unseen) == ({}, 1)


@pytest.mark.usefixtures("alone")
def test_payload_is_the_larger_side_whatever_the_call() -> None:
    x = torch.ones(4)
    with watched_collectives() as seen:
        dist.all_gather([torch.ones(4)], x)
        dist.reduce_scatter(torch.ones(2), [torch.ones(2)])
        dist.broadcast(x.double(), 0)
        dist.barrier()
    assert seen.bytes_ == {"all_gather": 16, "reduce_scatter": 8, "broadcast": 32}
    assert (seen.calls["barrier"], seen.unseen) == (1, 0)


def test_parts_are_of_the_rank_that_communicates_most_so_that_they_add_up() -> None:
    expected = {"communicated_bytes": 15.0, "communicated_receive_bytes": 10.0, "communicated_send_bytes": 5.0}
    ranks = [
        a_rank(0, metrics={"communicated_bytes": 10.0, "communicated_send_bytes": 10.0}),
        a_rank(1, metrics=expected),
    ]
    assert over_ranks(a_trial(), ranks) == expected
    assert over_ranks(a_trial(), [ranks[0], a_rank(1, metrics={})]) == {}
    assert metric("communicated_all_gather_bytes").unit == "B"
