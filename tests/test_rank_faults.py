"""One rank of several does wrong: wrong data, a reduction left out, an end inside a collective. Each is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.schema.record import Phase, Record, Status
from tests.conftest import execute, make_trial, plugins

pytestmark = pytest.mark.processes

FAULTS = plugins("tiny", "faults", "parity_faults")


def faulty(strategy: Any, **changes: Any) -> Record:
    record, _series = execute(make_trial(strategy, 2, plugins=FAULTS, **changes), parity="timeout_s" not in changes)
    return record


@pytest.mark.parametrize("strategy", ["repeats", "skips_one"])
def test_rank_that_repeats_anothers_data_and_one_reduction_left_out_fail_parity(strategy: str) -> None:
    record = faulty(strategy)
    assert record.status is Status.PARITY_FAILED, record.reason
    assert "gradient norm" in (record.reason or "")


def test_hang_inside_a_collective_ends_at_the_timeout_with_every_ranks_stack() -> None:
    began = time.monotonic()
    record = faulty({"name": "in_collective", "how": "hangs"}, timeout_s=6.0)
    assert time.monotonic() - began < 6 + 5
    assert record.status is Status.TIMEOUT, record.reason
    assert record.phase is Phase.WARMUP
    assert "rank 0 in warmup, rank 1 in warmup" in (record.reason or "")
    for rank in record.per_rank:
        assert "most recent call first" in rank.stderr_tail
        assert "loop.py" in rank.stderr_tail, "the stack reaches down to the step"
    assert "all_reduce" in record.per_rank[1].stderr_tail
    assert "averaged" in record.per_rank[1].stderr_tail
    assert "averaged" not in record.per_rank[0].stderr_tail, "rank 0 waits, it does not hang in the hook"


def test_death_inside_a_collective_ends_the_trial_and_names_the_rank() -> None:
    began = time.monotonic()
    record = faulty({"name": "in_collective", "how": "dies"}, timeout_s=60.0)
    assert time.monotonic() - began < 60
    assert record.status is Status.CRASHED
    assert (record.reason or "").startswith("rank 1: killed by SIGKILL")
    assert record.phase is Phase.WARMUP
    survivor, dead = record.per_rank
    assert dead.signal == "SIGKILL"
    # The survivor noticed by itself and said where it was, or it was ended and wrote its stack before.
    assert "loop.py" in (survivor.traceback or survivor.stderr_tail)


def test_peer_that_notices_nothing_writes_its_stack_before_it_is_ended() -> None:
    """Rank 0 sleeps in its own code when rank 1 dies: no collective tells it."""
    record = faulty({"name": "one_dies_one_sleeps"}, timeout_s=60.0)
    assert record.status is Status.CRASHED
    assert (record.reason or "").startswith("rank 1: killed by SIGKILL")
    assert "most recent call first" in record.per_rank[0].stderr_tail
    assert "asleep" in record.per_rank[0].stderr_tail
