"""Peak resident memory of the process in the timed window, as the kernel counts it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from harness.monitors import Monitor, register

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult

FORGET_PEAK = "5"


@register("resident", metrics=("peak_rss_bytes",))
class Resident(Monitor):
    """VmHWM of /proc/self/status over the window; the kernel's mark is reset before it.

    Left out: systems without /proc, and kernels that refuse the reset (then it would be the process's whole life).
    Source: https://docs.kernel.org/filesystems/proc.html
    """

    def __init__(self) -> None:
        self._reset = False

    def window_begins(self, training: Training) -> None:
        """Reset the kernel's high-water mark."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text(FORGET_PEAK)
            self._reset = True

    def window_ends(self, training: Training, result: RankResult) -> None:
        """Read the mark."""
        if self._reset:
            result.metrics["peak_rss_bytes"] = float(high_water_mark_bytes())


def high_water_mark_bytes() -> int:
    """Most resident memory of this process since the last reset, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")
