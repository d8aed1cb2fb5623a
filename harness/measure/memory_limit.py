"""The memory that a trial may take: less than there is where the suite says so, so that one can see what fits.

On an accelerator the caching allocator refuses more than its share of the device; what is beside it (the driver's
context, NCCL's buffers) is not counted. On CPU the process may not grow by more than the limit from here on: the
workload's data are loaded and the ranks are connected by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.machine.device import open_device
from harness.strategies import Unsupported

if TYPE_CHECKING:
    from harness.schema.trial import Trial
    from harness.strategies import Place


FIT_RESERVE_BYTES = 4 * 2**20
"""What a try on CPU must leave: a trial has more steps than a try, and small objects come to about 0.1 MiB a step."""


def limit_memory(trial: Trial, place: Place) -> None:
    """Set the trial's limit on every device that this rank drives. Raises Unsupported where this cannot be done.

    A try whether a micro-batch fits has a limit on CPU always: without one of its own, the rank's part of what is free.
    There the kernel does not refuse memory but ends some process when there is none, and it might not be this one.
    """
    limit, device = trial.memory_limit_bytes, place.device
    driven = 1 if place.world_size > 1 else trial.devices
    if device.kind == "cpu" and limit is None and trial.kind == "fit":
        limit = device.available_bytes() // (place.world_size * driven)
    if limit is None:
        return
    if device.kind == "cpu":  # one process has the memory of all devices that it drives
        reserve = FIT_RESERVE_BYTES if trial.kind == "fit" else 0
        reasons = [device.limit_memory(max(0, limit * driven - reserve))]
    else:
        reasons = [open_device(device.kind, device.index + each).limit_memory(limit) for each in range(driven)]
    if reason := next(filter(None, reasons), None):
        raise Unsupported(reason)
