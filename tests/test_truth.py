"""Figures against what is known beforehand: a step of known time, a tensor of known size."""

from __future__ import annotations

import os

import pytest

from harness.run.executors import local
from harness.run.merge import merge
from harness.schema.record import Status
from tests.conftest import execute, make_trial

pytestmark = pytest.mark.processes

SLEEP_S = 0.02


@pytest.mark.parametrize("ranks", [1, 2])
def test_rate_counts_the_samples_of_all_ranks(ranks: int) -> None:
    """8 samples in 2 micro-batches of 20 ms: 40 ms on one rank, 20 ms on two. A sleep never takes less than asked."""
    strategy = "single" if ranks == 1 else "ddp"
    asked = make_trial(
        strategy, ranks, workload={"name": "sleeper", "seconds": SLEEP_S}, global_batch=8, accumulation=2 // ranks
    )
    record, _series = execute(asked, parity=False)
    assert record.status is Status.OK, record.reason
    highest = 8 / (SLEEP_S * 2 / ranks)
    assert record.metrics["samples_per_s"] <= highest
    assert record.metrics["samples_per_s"] == pytest.approx(
        record.metrics["window_samples"] / record.metrics["window_s"]
    )
    assert record.metrics["window_samples"] == 8 * asked.steps
    assert record.metrics["window_s"] >= asked.steps * SLEEP_S * 2 / ranks
    assert record.metrics["window_s"] < record.metrics["trial_s"]


def test_samples_of_one_rank_only_would_be_seen() -> None:
    """Negative control: a rank that leaves half of the samples halves the rate of the same record."""
    done = local.execute(
        make_trial("ddp", 2, workload="sleeper", global_batch=8, accumulation=1), sorted(os.sched_getaffinity(0))
    )
    kept = {"started_at": done.started_at, "ended_at": done.ended_at}
    asked = make_trial("ddp", 2, workload="sleeper", global_batch=8, accumulation=1)
    right, _series = merge(asked, done.ranks, None, **kept)  # type: ignore[arg-type]
    done.ranks[1].metrics["window_samples"] = 0.0
    wrong, _series = merge(asked, done.ranks, None, **kept)  # type: ignore[arg-type]
    assert wrong.metrics["samples_per_s"] == pytest.approx(right.metrics["samples_per_s"] / 2)


@pytest.mark.parametrize("mebibytes", [64, 256])
def test_peak_of_a_known_allocation(mebibytes: int) -> None:
    """The forward pass keeps one tensor of the known size for the backward pass."""
    asked = make_trial(
        workload={"name": "hoarder", "mebibytes": mebibytes}, global_batch=4, accumulation=1, steps=1, warmup_steps=5
    )
    record, _series = execute(asked, parity=False)
    assert record.status is Status.OK, record.reason
    assert record.metrics["peak_allocated_bytes"] == pytest.approx(mebibytes * 2**20, rel=0.05)
    assert record.metrics["peak_rss_bytes"] > mebibytes * 2**20
    kinds = [value for name, value in record.metrics.items() if name.startswith("memory_")]
    assert sum(kinds) == pytest.approx(record.metrics["peak_allocated_bytes"], rel=0.02)
