"""Limits that Linux control groups set around this process: CPU time and memory, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
PERIOD_US = 100_000


def cpu_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of CPU time that the tightest group allows: quota ÷ period. None: no limit, or not Linux."""
    return _tightest(root, membership, "cpu", _quota_v1, _quota_v2)


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Bytes that the tightest group allows. None: no limit, or not Linux. Version 1 writes a huge number for none."""
    return _tightest(root, membership, "memory", _memory_v1, _memory_v2)


def throttled(root: Path = ROOT, membership: Path = MEMBERSHIP) -> tuple[int | None, float | None]:
    """How often and for how many seconds a quota of CPU time was used up, in the group where that is most, until now.

    None: no group counts it. Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    counted = [_throttled(folder) for _read, folder in _groups(root, membership, "cpu", _quota_v1, _quota_v2)]
    return max((each for each in counted if each is not None), default=(None, None))


Read = Callable[[Path], float | None]


def _tightest(root: Path, membership: Path, controller: str, v1: Read, v2: Read) -> float | None:
    found = [read(folder) for read, folder in _groups(root, membership, controller, v1, v2)]
    return min((limit for limit in found if limit is not None), default=None)


def _groups(root: Path, membership: Path, controller: str, v1: Read, v2: Read) -> Iterator[tuple[Read, Path]]:
    """The groups that this process is in, each with what reads it by its version."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        read, base = (v1, root / controllers) if controllers else (v2, root)
        yield from ((read, folder) for folder in _around(base, path))


def _throttled(folder: Path) -> tuple[int, float] | None:
    """Of version 1 (nanoseconds) or 2 (microseconds)."""
    try:
        pairs = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        seconds = float(pairs.get("throttled_usec", 0)) * 1e-6 + float(pairs.get("throttled_time", 0)) * 1e-9
        return int(pairs["nr_throttled"]), seconds
    except (OSError, ValueError, KeyError):
        return None


def _around(base: Path, path: str) -> Iterator[Path]:
    """The folder of a group and of every group around it: a limit holds for all inside."""
    group = base / path.lstrip("/")
    yield group
    while group != base and base in group.parents:
        group = group.parent
        yield group


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, _space, period = (folder / "cpu.max").read_text().strip().partition(" ")
    except OSError:
        return None
    return None if quota == "max" else float(quota) / float(period or PERIOD_US)


def _memory_v1(folder: Path) -> float | None:
    limit = _number(folder / "memory.limit_in_bytes")
    return limit if limit is not None and limit < 2**60 else None


def _memory_v2(folder: Path) -> float | None:
    return _number(folder / "memory.max")
