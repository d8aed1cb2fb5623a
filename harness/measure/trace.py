"""A trace of a few steps by PyTorch's profiler, in a trial of its own: a profiler slows what it watches.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule

from harness.measure.exposed import NoTime, communication_s
from harness.measure.training import Training
from harness.schema.record import RankResult

SETTLING_STEPS = 3
"""Steps after those of parity, before the profiler: a fixed number, nothing is timed here."""
PROFILED_STEPS = 3


def trace(training: Training, path: Path, result: RankResult) -> None:
    """Train three steps under the profiler, after one that it warms up in; leave the trace at `path` (Chrome, gzip).

    comm_s and comm_exposed_s are seconds per step of this rank, absent with the reason where the trace cannot tell.
    """
    kinds = {ProfilerActivity.CPU, getattr(ProfilerActivity, training.device.kind.upper(), ProfilerActivity.CPU)}
    training.barrier()
    with profile(activities=kinds, schedule=schedule(wait=0, warmup=1, active=PROFILED_STEPS, repeat=1)) as profiler:
        for _ in range(1 + PROFILED_STEPS):
            training.step()
            training.device.synchronize()  # what a step has given to the device belongs to it
            profiler.step()
    profiler.export_chrome_trace(str(path))
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        events = json.load(file, strict=False)["traceEvents"]
    result.facts["trace"] = {"steps": PROFILED_STEPS, "events": len(events)}
    why = training.wrapped.unseen
    if why is None:
        try:
            whole, exposed = communication_s(events)
            result.metrics |= {"comm_s": whole / PROFILED_STEPS, "comm_exposed_s": exposed / PROFILED_STEPS}
        except NoTime as error:
            why = str(error)
    if why is not None:
        result.facts.setdefault("absent", {})["trace"] = why
