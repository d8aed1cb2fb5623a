"""Exposed communication by hand-made events, and by counting microseconds one by one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.exposed import NoTime, communication_s, length, minus, union

Interval = tuple[int, int]


def event(name: str, start: float, end: float, cat: str = "cpu_op", tid: int = 1, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "ts": start, "dur": end - start, "cat": cat, "tid": tid, **more}


def gloo(start: float, end: float) -> dict[str, Any]:
    return event("gloo:all_reduce", start, end, "user_annotation", tid=9)


def seconds(*events: dict[str, Any]) -> tuple[float, float]:
    """Microseconds of communication, and of those the exposed ones."""
    whole, exposed = communication_s(events)
    return round(whole * 1e6, 6), round(exposed * 1e6, 6)


def test_communication_beside_computation_is_hidden_and_the_rest_exposed() -> None:
    assert seconds(gloo(10, 30), event("aten::mm", 0, 25)) == (20, 5)
    assert seconds(gloo(10, 30), event("aten::mm", 0, 40)) == (20, 0)
    assert seconds(gloo(10, 30), event("aten::mm", 40, 50)) == (20, 20)
    assert seconds(event("aten::mm", 0, 10)) == (0, 0)


def test_overlapping_collectives_and_nested_operations_count_once() -> None:
    nested = [event("aten::linear", 0, 20), event("aten::addmm", 5, 15), event("aten::mm", 6, 14, tid=2)]
    assert seconds(gloo(10, 30), gloo(20, 40), *nested) == (30, 20)


def test_a_thread_that_waits_for_a_collective_inside_an_operation_does_not_compute() -> None:
    norm = event("aten::linalg_vector_norm", 0, 30)
    wait = event("_c10d_functional::wait_tensor", 10, 28)
    assert seconds(gloo(10, 30), norm) == (20, 0), "control: taken for computation"
    assert seconds(gloo(10, 30), norm, wait) == (20, 18)
    other = event("aten::mm", 0, 30, tid=2)
    assert seconds(gloo(10, 30), norm, wait, other) == (20, 0), "another thread does compute meanwhile"


def test_what_is_not_an_operation_computes_nothing() -> None:
    others = [
        event("DistributedDataParallel.forward", 0, 50, "user_annotation"),
        event("ProfilerStep#1", 0, 50, "user_annotation"),
        event("autograd::engine::evaluate_function: MmBackward0", 0, 50),
        {"ph": "i", "name": "aten::mm", "ts": 0},
        {"ph": "M", "name": "process_name"},
    ]
    assert seconds(gloo(10, 30), *others) == (20, 20)


def test_kernels_of_an_accelerator_outrank_what_the_host_does() -> None:
    kernels = [
        event("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 0, 100, "kernel", tid=7),
        event("ampere_bf16_s16816gemm", 0, 60, "kernel", tid=8),
        event("Memcpy HtoD", 60, 90, "gpu_memcpy", tid=8),
    ]
    host = [event("aten::mm", 0, 100), event("c10d::allreduce_", 0, 5), gloo(0, 100)]
    assert seconds(*kernels, *host) == (100, 40)


def test_collectives_without_their_time_are_no_zero() -> None:
    with pytest.raises(NoTime, match="2 calls"):
        seconds(event("c10d::allreduce_", 0, 5), event("_c10d_functional::all_reduce", 0, 5), event("aten::mm", 0, 9))


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    pairs = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=12))
    return [(start, start + size) for start, size in pairs]


def ticks(these: list[Interval]) -> set[int]:
    return {tick for start, end in these for tick in range(start, end)}


@given(intervals(), intervals())
def test_arithmetic_is_that_of_sets_of_moments(these: list[Interval], those: list[Interval]) -> None:
    one, other = union(these), union(those)
    assert length(one) == len(ticks(these))
    left = minus(one, other)
    assert {tick for start, end in left for tick in range(int(start), int(end))} == ticks(these) - ticks(those)
    assert length(left) == len(ticks(these) - ticks(those))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(one))
