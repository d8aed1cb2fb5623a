"""What is in the way of small effects on this machine, by what its system told at two moments, and what would help."""

from __future__ import annotations

from harness.analyse.quantity import count, digits, duration, listed, percent
from harness.machine.contention import THREADS, Moment, Surroundings

BUSY_CORES = 0.25
"""Cores' worth of other processes' work from which on it is told."""
BUSY_LOAD = 0.5
"""The same by the load average per core, where CPU seconds are not told."""
STOLEN = 0.005
"""Share of the cores' time that a hypervisor gave to others, from which on it is told."""


def others_cores(before: Moment, after: Moment) -> float | None:
    """Cores' worth of CPU time that processes other than ours used between two moments."""
    if before.busy_s is None or after.busy_s is None or after.at <= before.at:
        return None
    used = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return max(0.0, used / (after.at - before.at))


def stolen(before: Moment, after: Moment, around: Surroundings) -> float | None:
    """Share of the cores' time that a hypervisor gave to others."""
    if before.steal_s is None or after.steal_s is None or after.at <= before.at:
        return None
    return (after.steal_s - before.steal_s) / ((after.at - before.at) * around.cores_of_machine)


def _grown(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def what_was_seen(before: Moment, after: Moment, around: Surroundings) -> tuple[dict[str, str], list[str]]:
    """What the system tells, in words, and the names of what it does not tell."""
    others, taken = others_cores(before, after), stolen(before, after, around)
    throttled, swapped = _grown(before.throttled, after.throttled), _grown(before.swapped_pages, after.swapped_pages)
    told = {
        "cores": f"{around.cores} of {count(around.cores_of_machine, 'core')} may be used",
        THREADS: around.threads,
        "load average at the start": None if before.load is None else digits(before.load),
        "other processes": None if others is None else f"{digits(others, 2)} cores' worth of CPU time",
        "time stolen by a hypervisor": None if taken is None else percent(taken),
        "CPU quota": None if around.quota is None else f"{digits(around.quota)} cores",
        "periods throttled by the quota": None if throttled is None else f"{throttled:,.0f}",
        "pages swapped": None if swapped is None else f"{swapped:,.0f}",
        "frequency governor": ", ".join(around.governors) or None,
        "turbo": {None: None, True: "on", False: "off"}[around.turbo],
    }
    unset = (THREADS, "CPU quota")  # not there is an answer too: nothing is set
    return (
        {what: found for what, found in told.items() if found is not None},
        [what for what, found in told.items() if found is None and what not in unset],
    )


def advice(before: Moment, after: Moment, around: Surroundings, threads: int = 1) -> list[str]:
    """What would make smaller effects visible, by what was seen; empty where nothing is in the way."""
    found = [
        _other_work(before, after, around, threads),
        _stolen(before, after, around),
        _throttled(before, after, around),
        _threads(around),
        _governor(around),
        _turbo(around),
        _swapping(before, after),
    ]
    return [text for text in found if text]


def _other_work(before: Moment, after: Moment, around: Surroundings, threads: int) -> str:
    others, cores = others_cores(before, after), around.cores_of_machine
    if others is None:
        if before.load is None or before.load <= BUSY_LOAD * cores:
            return ""
        seen = f"The load average was {digits(before.load)} on {count(cores, 'core')} at the start"
    elif others < BUSY_CORES:
        return ""
    else:
        free = max(0.0, cores - others)
        seen = f"Other processes used {digits(others, 2)} of {count(cores, 'core')} while this ran"
        if threads > free:
            seen += f", so that {digits(free, 2)} were free for {count(threads, 'thread')}"
    return (
        f"{seen}: end them, or give this process cores of its own (`taskset -c`), and choose cells with fewer threads."
    )


def _stolen(before: Moment, after: Moment, around: Surroundings) -> str:
    taken = stolen(before, after, around)
    if taken is None or taken < STOLEN:
        return ""
    return (
        f"A hypervisor gave {percent(taken)} of this machine's CPU time to others: a machine with cores of its own "
        "(dedicated, not shared) would not; CPU time suffers less than wall time."
    )


def _throttled(before: Moment, after: Moment, around: Surroundings) -> str:
    periods, seconds = _grown(before.throttled, after.throttled), _grown(before.throttled_s, after.throttled_s)
    if not periods:
        return ""
    limit = f" of {digits(around.quota)} cores" if around.quota is not None else ""
    stopped = f", for {duration(seconds)} in all" if seconds else ""
    return (
        f"The control group's CPU quota{limit} stopped processes in {count(int(periods), 'period')}{stopped}: raise "
        "the quota (a container's --cpus), or use fewer threads than it allows cores."
    )


def _threads(around: Surroundings) -> str:
    if not (around.threads or "").isdigit() or int(around.threads or 0) <= around.cores:
        return ""
    return (
        f"{THREADS} is {around.threads} on {count(around.cores, 'core')}: libraries that go by it start more threads "
        f"than there are cores; set it to {around.cores} at most. PyTorch's own threads are set by the harness."
    )


def _governor(around: Surroundings) -> str:
    slow = [name for name in around.governors if name != "performance"]
    if not slow:
        return ""
    return (
        f"The frequency governor is {listed(slow)}, which lowers the clock between steps: set it to performance "
        "(`cpupower frequency-set -g performance`)."
    )


def _turbo(around: Surroundings) -> str:
    if not around.turbo:
        return ""
    return (
        "Turbo is on, so that the clock follows temperature and what other cores do: for the smallest effects turn it "
        "off (intel_pstate/no_turbo or cpufreq/boost under /sys/devices/system/cpu)."
    )


def _swapping(before: Moment, after: Moment) -> str:
    pages = _grown(before.swapped_pages, after.swapped_pages)
    if not pages:
        return ""
    return f"{count(int(pages), 'page')} of memory went to or came from swap: free some memory, or turn swap off."
