"""What goes wrong on an accelerator is a record, and the next trial is none the worse for it."""

from __future__ import annotations

import time

import pytest

from harness.schema.record import Phase, Record, Status
from tests.conftest import execute, make_trial, plugins
from tests.gpu.accelerators import COUNT, KIND, MARKS

pytestmark = [*MARKS, pytest.mark.processes]
two = pytest.mark.skipif(COUNT < 2, reason="needs at least 2 accelerators")


def tried(strategy: object, ranks: int = 1, timeout_s: float = 120.0) -> Record:
    faults = plugins("tiny", "faults", "parity_faults")
    record, _series = execute(
        make_trial(strategy, ranks, device=KIND, plugins=faults, timeout_s=timeout_s), parity=False
    )
    return record


def test_memory_that_runs_out_is_told_and_all_of_it_is_there_again() -> None:
    record = tried("runs_out")
    assert record.status is Status.OOM, record.reason
    assert record.phase is Phase.WARMUP
    assert "samples_per_s" not in record.metrics
    assert tried("single").status is Status.OK


@two
def test_rank_that_hangs_inside_a_collective_is_told_with_every_ranks_stack() -> None:
    """Its timeout is long enough for a whole trial of this device, however busy the machine is just now."""
    began = time.monotonic()
    assert tried("ddp", 2).status is Status.OK
    whole_s = time.monotonic() - began
    record = tried({"name": "in_collective", "how": "hangs"}, 2, timeout_s=3.0 + 3.0 * whole_s)
    assert record.status is Status.TIMEOUT, record.reason
    for rank in record.per_rank:
        assert "most recent call first" in rank.stderr_tail
        assert "loop.py" in rank.stderr_tail
    assert "averaged" in record.per_rank[1].stderr_tail


@two
def test_rank_that_dies_inside_a_collective_is_named() -> None:
    record = tried({"name": "in_collective", "how": "dies"}, 2)
    assert record.status is Status.CRASHED
    assert (record.reason or "").startswith("rank 1: killed by SIGKILL")
    assert tried("ddp", 2).status is Status.OK
