"""Exposed communication: time in a trace in which data travel and nothing is computed. Pure: interval arithmetic.

    exposed = | union of communication − union of computation |

An event is one of Chrome's trace format as PyTorch's profiler writes it: `ts` and `dur` in µs, `tid`, `cat`, `name`.
Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]
Interval = tuple[float, float]

OF_DEVICE = re.compile(r"nccl|rccl|oneccl", re.IGNORECASE)
"""Kernels that communicate."""
OF_BACKEND = re.compile(r"(gloo|mpi|ucc|nccl|xccl):")
"""Events of a backend without kernels: gloo's thread from the start of a collective to its end."""
CALLS = re.compile(r"(c10d|_c10d_functional)::")
"""Operations in which the calling thread starts a collective or waits for one."""


class NoTime(Exception):
    """The trace holds collectives, but not how long they took."""


def communication_s(events: Iterable[Event]) -> tuple[float, float]:
    """Seconds of communication in the events of one rank, and of those the exposed ones.

    With kernels of an accelerator these count: some communicate, the others compute. Otherwise the backend's own events
    communicate and `aten::` operations compute, but for the time that their thread spends in a collective inside them.
    Copies between host and device are neither. Raises NoTime.
    """
    whole = [event for event in events if event.get("ph") == "X" and "dur" in event]
    kernels = [event for event in whole if event.get("cat") == "kernel"]
    calls = [event for event in whole if CALLS.match(event["name"]) and event.get("cat") == "cpu_op"]
    if kernels:
        communication = [_interval(event) for event in kernels if OF_DEVICE.search(event["name"])]
        computation = [_interval(event) for event in kernels if not OF_DEVICE.search(event["name"])]
    else:
        communication = [_interval(event) for event in whole if OF_BACKEND.match(event["name"])]
        computation = _computed(whole, calls)
    if calls and not communication:
        raise NoTime(f"{len(calls)} calls of collectives in the trace, but no time of any")
    communicated, computed = union(communication), union(computation)
    return length(communicated) * 1e-6, length(minus(communicated, computed)) * 1e-6


def _computed(whole: Sequence[Event], calls: Sequence[Event]) -> list[Interval]:
    """What each thread computes: `aten::` operations but for collectives inside them (a norm of divided tensors)."""
    working: dict[Any, list[Interval]] = defaultdict(list)
    waiting: dict[Any, list[Interval]] = defaultdict(list)
    for event in whole:
        if event.get("cat") == "cpu_op" and event["name"].startswith("aten::"):
            working[event.get("tid")].append(_interval(event))
    for event in calls:
        waiting[event.get("tid")].append(_interval(event))
    return [part for thread, own in working.items() for part in minus(union(own), union(waiting[thread]))]


def _interval(event: Event) -> Interval:
    return float(event["ts"]), float(event["ts"]) + float(event["dur"])


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals in order, overlapping and touching ones as one; empty ones are left out."""
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def minus(these: Sequence[Interval], those: Sequence[Interval]) -> list[Interval]:
    """What `these` cover and `those` do not; both as `union` leaves them."""
    left: list[Interval] = []
    at = 0
    for start, end in these:
        while at < len(those) and those[at][1] <= start:
            at += 1
        number = at
        while number < len(those) and those[number][0] < end:
            if start < those[number][0]:
                left.append((start, those[number][0]))
            start = max(start, those[number][1])
            number += 1
        if start < end:
            left.append((start, end))
    return left


def length(intervals: Iterable[Interval]) -> float:
    """Sum of the lengths of intervals that do not overlap."""
    return sum(end - start for start, end in intervals)
