"""What takes computing time from this process: other work, a hypervisor, a quota, swapping. Read before and after.

What this system does not tell is None, never 0. Source: https://man7.org/linux/man-pages/man5/proc_stat.5.html
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.machine import control_group
from harness.machine.environment import cores

PROC, CPUS = Path("/proc"), Path("/sys/devices/system/cpu")
THREADS = "OMP_NUM_THREADS"
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 0, 1, 2, 5, 6, 7
"""Columns of a line of /proc/stat. `guest` and `guest_nice` are in `user` and `nice` already."""


@dataclass(frozen=True)
class Moment:
    """Counters at one moment. at: monotonic seconds; busy_s: CPU seconds of all processes of the machine; own_s: of
    this one and of its children that have ended; steal_s: that a hypervisor gave to others while a core here wanted
    them; throttled: periods in which the control group's quota was used up; swapped_pages: read from or written to
    swap.
    """

    at: float
    load: float | None = None
    busy_s: float | None = None
    own_s: float = 0.0
    steal_s: float | None = None
    throttled: int | None = None
    throttled_s: float | None = None
    swapped_pages: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """What stays as it is: cores of the machine and of this process, quota in cores, the clock's governors, turbo.

    threads: the OMP_NUM_THREADS that is set; turbo: whether cores may clock above their nominal rate as heat allows.
    """

    cores_of_machine: int
    cores: int
    quota: float | None = None
    governors: tuple[str, ...] = ()
    turbo: bool | None = None
    threads: str | None = None


def moment(proc: Path = PROC) -> Moment:
    """Read the counters now."""
    ticks = _ticks(proc)
    per_s = float(os.sysconf("SC_CLK_TCK"))
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    throttled, throttled_s = control_group.throttled()
    return Moment(
        at=time.monotonic(),
        load=_load(proc),
        busy_s=sum(ticks[column] for column in (USER, NICE, SYSTEM, IRQ, SOFTIRQ)) / per_s if ticks else None,
        own_s=sum(each.ru_utime + each.ru_stime for each in own),
        steal_s=ticks[STEAL] / per_s if ticks else None,
        throttled=throttled,
        throttled_s=throttled_s,
        swapped_pages=_swapped(proc),
    )


def surroundings(cpus: Path = CPUS, environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Read what stays as it is."""
    mine = cores()
    governors = {_text(cpus / f"cpu{core}" / "cpufreq" / "scaling_governor") for core in mine} - {None}
    return Surroundings(
        cores_of_machine=os.cpu_count() or len(mine),
        cores=len(mine),
        quota=control_group.cpu_quota(),
        governors=tuple(sorted(text for text in governors if text)),
        turbo=_turbo(cpus),
        threads=environment.get(THREADS),
    )


def _turbo(cpus: Path) -> bool | None:
    if (off := _text(cpus / "intel_pstate" / "no_turbo")) is not None:
        return off == "0"
    boost = _text(cpus / "cpufreq" / "boost")
    return None if boost is None else boost == "1"


def _ticks(proc: Path) -> list[int] | None:
    """The first line of /proc/stat, all cores together; None where it counts nothing (some sandboxes)."""
    fields = (_text(proc / "stat") or "").splitlines()[:1]
    ticks = [int(field) for field in fields[0].split()[1:] if field.isdigit()] if fields else []
    return ticks if len(ticks) > STEAL and any(ticks) else None


def _load(proc: Path) -> float | None:
    fields = (_text(proc / "loadavg") or "").split()
    return float(fields[0]) if fields else None


def _swapped(proc: Path) -> int | None:
    pairs = (line.split() for line in (_text(proc / "vmstat") or "").splitlines())
    pages = [int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in ("pswpin", "pswpout")]
    return sum(pages) if pages else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
