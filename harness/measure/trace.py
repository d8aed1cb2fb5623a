"""A trace of a few steps by PyTorch's profiler, in a trial of its own: a profiler slows what it watches.

The file is written by `tensorboard_trace_handler`, one per rank, under the name by which torch-tb-profiler finds it:
`<host>_<rank>.<ns since the epoch>.pt.trace.json.gz`. Perfetto and chrome://tracing read the same file.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from harness.measure.exposed import NoTime, communication_s
from harness.measure.operators import operators
from harness.measure.training import Training
from harness.schema.record import RankResult

SETTLING_STEPS = 3
"""Steps after those of parity, before the profiler: a fixed number, nothing is timed here."""
PROFILED_STEPS = 3


def trace(training: Training, folder: Path, result: RankResult) -> None:
    """Train three steps under the profiler, after one that it warms up in; leave the trace in `folder` (Chrome, gzip).

    comm_s and comm_exposed_s are seconds per step of this rank, absent with the reason where the trace cannot tell.
    Operators stand among the facts.
    """
    kinds = {ProfilerActivity.CPU, getattr(ProfilerActivity, training.device.kind.upper(), ProfilerActivity.CPU)}
    training.barrier()
    with profile(
        activities=kinds,
        schedule=schedule(wait=0, warmup=1, active=PROFILED_STEPS, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder), worker_name(result), use_gzip=True),
        record_shapes=True,  # the plugin groups operators by the shapes of their inputs
    ) as profiler:
        for _ in range(1 + PROFILED_STEPS):
            training.step()
            training.device.synchronize()  # what a step has given to the device belongs to it
            profiler.step()
    events = events_of(folder)
    result.facts["trace"] = {"steps": PROFILED_STEPS, "events": len(events)}
    result.facts["trace"] |= operators(profiler.key_averages(), PROFILED_STEPS)
    why = training.wrapped.unseen
    if why is None:
        try:
            whole, exposed = communication_s(events)
            result.metrics |= {"comm_s": whole / PROFILED_STEPS, "comm_exposed_s": exposed / PROFILED_STEPS}
        except NoTime as error:
            why = str(error)
    if why is not None:
        result.facts.setdefault("absent", {})["trace"] = why


def worker_name(result: RankResult) -> str:
    """How TensorBoard names the rank: torch-tb-profiler takes what is behind the last `_` for its number."""
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', result.host) or 'host'}_{result.rank}"


def events_of(folder: Path) -> list[dict[str, object]]:
    """The events of the one trace in a folder. Names in it may hold control characters."""
    (path,) = folder.glob("*.json.gz")
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        found: list[dict[str, object]] = json.load(file, strict=False)["traceEvents"]
    return found
