"""One rank's memory measured twice: by the harness, and by PyTorch's profiler from before the model is built on."""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile, record_function

from harness.measure.job import Job
from harness.measure.training import build_training
from harness.measure.worker import settle
from harness.monitors.memory import tracked_peak
from harness.workloads import registry

STEPS, SETTLING = 12, 4
MARK = "measured step"


def measure_twice(job_json: str) -> None:
    """Write the harness's figures of memory of one step, and by the profiler `tensors` and `with_scratch`, in bytes.

    The workload's data are made before the profiler looks: they are no part of a training's memory.
    """
    job = Job.model_validate_json(job_json)
    settle(job)
    if job.world_size > 1:
        dist.init_process_group("gloo", init_method=job.init, rank=job.rank, world_size=job.world_size)
    entry = registry[job.trial.workload.name]
    workload = entry.function(job.trial.size, **job.trial.workload.options)
    object.__setattr__(entry, "function", lambda _size, **_options: workload)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        training = build_training(job.trial, job.rank, job.world_size, job.rank)
        for number in range(STEPS):
            with record_function(f"{MARK} {number}"):
                training.step()
    found: dict[str, Any] = {"untracked": training.wrapped.untracked, **seen_by(profiler)}
    if training.wrapped.untracked is None:
        found |= tracked_peak(training)
    Path(job.folder, f"memory-{job.rank}.json").write_text(json.dumps(found))
    os._exit(0)


def seen_by(profiler: Any) -> dict[str, int]:
    """The smallest peak of the steps that have settled, in bytes.

    tensors: held when an operation ends; with_scratch: at any time, so that what an operation takes and gives back
    before it ends is in it. The smallest: the profiler does not see what gloo's threads free (see `Held`).
    """
    tree = list(_all(profiler.profiler.kineto_results.experimental_event_tree()))
    held = Held()
    times, totals = [], []
    changes = [event for event in tree if event.tag == _EventType.Allocation]
    for event in sorted(changes, key=lambda event: event.start_time_ns):
        times.append(event.start_time_ns)
        totals.append(held.after(event.extra_fields.ptr, event.extra_fields.alloc_size))
    ends = sorted(_ends(profiler.profiler.kineto_results.experimental_event_tree()))
    peaks = []
    for step in (event for event in tree if event.name.startswith(MARK)):
        if int(step.name.removeprefix(MARK)) < SETTLING:
            continue
        began, ended = step.start_time_ns, step.end_time_ns
        moments = ends[bisect.bisect_left(ends, began) : bisect.bisect_right(ends, ended)]
        between = [totals[bisect.bisect_right(times, at) - 1] for at in moments]
        always = totals[bisect.bisect_left(times, began) : bisect.bisect_right(times, ended)]
        peaks.append((max(between), max(always)))
    tensors, always = zip(*peaks, strict=True)
    return {"tensors": min(tensors), "with_scratch": min(always)}


class Held:
    """Bytes of blocks that are allocated, by address.

    A free in a thread that is not profiled (gloo's, for a tensor whose communication it ends last) is not seen; it is
    made up for when the address is given out again.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._starts: list[int] = []
        self._total = 0

    def after(self, address: int, size: int) -> int:
        """The total after a block was taken (size above 0) or given back."""
        if size > 0:
            first = bisect.bisect_left(self._starts, address)
            if first and self._starts[first - 1] + self._sizes[self._starts[first - 1]] > address:
                first -= 1
            last = bisect.bisect_left(self._starts, address + size)
            for gone in self._starts[first:last]:
                self._total -= self._sizes.pop(gone)
            self._starts[first:last] = [address]
            self._sizes[address] = size
            self._total += size
        elif address in self._sizes:
            self._starts.remove(address)
            self._total -= self._sizes.pop(address)
        return self._total


def _all(events: list[Any]) -> Iterator[Any]:
    for event in events:
        yield event
        yield from _all(event.children)


def _ends(events: list[Any]) -> Iterator[int]:
    """When the operations end that a dispatch mode sees: outermost ones that are not made of others."""
    for event in events:
        if event.name.startswith("aten::") and not composite(event.name):
            yield event.end_time_ns
        else:
            yield from _ends(event.children)


@cache
def composite(name: str) -> bool:
    """Whether every overload of an operation is made of other operations."""
    overloads = [known for known in _operations() if known == name or known.startswith(f"{name}.")]
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return bool(overloads) and all(has(each, "CompositeImplicitAutograd") for each in overloads)


@cache
def _operations() -> list[str]:
    return list(torch._C._dispatch_get_all_op_names())
