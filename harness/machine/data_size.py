"""A limit on the memory of a process on Linux: the kernel refuses its allocator more than that, as a full device would.

The limit is RLIMIT_DATA, which counts every private writable page that a process has asked for, touched or not:
tensors, what the allocator keeps around them, and stacks of threads. The kernel refuses, PyTorch's allocator says
"can't allocate memory", and the process goes on and can say so; RLIMIT_AS would count shared libraries too, and a
control group would kill.

The C library gives blocks of 128 KiB and more back to the kernel when they are freed, but raises that size to up to
32 MiB as it goes, and keeps what is smaller in pieces that the next step may not be able to use: between steps a small
GPT with 40 MiB in use held 139 to 228 MiB, another amount after each step, and what fitted once would not fit later.
Under a limit the size stays at 128 KiB and needs are the same in every step (40 to 42 MiB there); steps take longer by
that (31 to 37 % of CPU time, where page faults are dear), in all trials alike.
Source: https://man7.org/linux/man-pages/man2/getrlimit.2.html
Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

from harness.machine import control_group

STATUS = Path("/proc/self/status")
M_MMAP_THRESHOLD = -3
GIVEN_BACK_BYTES = 128 * 2**10
"""Blocks of at least this size are given back to the kernel when they are freed: the C library's own first value."""


def data_bytes() -> int | None:
    """Private writable bytes that this process has asked for (VmData); None: the system does not tell."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), None)


def limit_growth(growth_bytes: int) -> bool:
    """Refuse this process more than so many bytes beyond what it has now; False: this system cannot."""
    present = data_bytes()
    if present is None:
        return False
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES)
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = present + growth_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    return True


def lift_limit() -> bool:
    """Take the limit back, so that the process can say how it ended; returns whether there was one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return soft != hard


def available_bytes() -> int:
    """Memory that processes can still take before the kernel must end one: free, or as much as the group allows."""
    import psutil

    free, limit = psutil.virtual_memory().available, control_group.memory_limit()
    return int(free if limit is None else min(free, limit))
