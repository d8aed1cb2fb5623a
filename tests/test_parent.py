"""The parent blocks while a trial runs: a waiting loop would steal the core that is measured."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import pytest

from harness.run.executors import local
from harness.schema.record import Status
from tests.conftest import execute, make_trial

pytestmark = pytest.mark.processes

ALLOWED_CPU_S = 0.1


def parent_cpu_s(steps: int) -> float:
    """CPU seconds of this process over a trial that sleeps for about 0.04 s × steps."""
    asked = make_trial(workload="sleeper", global_batch=8, accumulation=2, steps=steps, warmup_steps=5, eval_every=0)
    execute(make_trial(), parity=False)
    before = resource.getrusage(resource.RUSAGE_SELF)
    record, _series = execute(asked, parity=False)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert record.status is Status.OK, record.reason
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_parent_costs_next_to_nothing_per_trial() -> None:
    assert parent_cpu_s(20) < ALLOWED_CPU_S


def test_busy_parent_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the same trial with a parent that polls."""

    wait = local.connection.wait

    def polling(sentinels: Sequence[Any], timeout: float | None = None) -> list[Any]:
        if timeout is None:
            return list(wait(sentinels))
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if ready := wait(sentinels, 0):
                return list(ready)
        return []

    monkeypatch.setattr(local.connection, "wait", polling)
    assert parent_cpu_s(20) > 2 * ALLOWED_CPU_S
