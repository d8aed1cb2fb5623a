"""What this machine can tell apart: the smallest effect found, from rounds of identical code, and what is in the way.

Verdicts are those of `harness gate`: α of the t test 1 %, found nine times in ten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.analyse.compare import ALPHA, ROUNDS_AT_LEAST
from harness.analyse.quantity import count, digits, duration, listed, percent
from harness.analyse.stats import Paired, detectable, rounds_needed
from harness.machine.contention import THREADS, Moment, Surroundings

ROUNDS = 20
"""Rounds that `harness ab` confirms with, unless told otherwise."""
EFFECTS = (0.01, 0.03, 0.10)
CLOCKS = {"step_cpu_s": "CPU time", "step_s": "wall time"}
BUSY_CORES = 0.25
"""Cores' worth of other processes' work from which on it is told."""
BUSY_LOAD = 0.5
"""The same by the load average per core, where CPU seconds are not told."""
STOLEN = 0.005
"""Share of the cores' time that a hypervisor gave to others, from which on it is told."""
WALL_WORSE = 3.0
"""Wall time is the worse clock from so many times the CPU time's SD on."""


@dataclass(frozen=True)
class Clock:
    """What one clock can tell apart. sd: of a round's log ratio of identical code, low and high: its 95 % interval;
    detectable: the smallest relative difference found nine times in ten with `ROUNDS` rounds; needed: rounds for each
    of `EFFECTS`, None: no number.
    """

    metric: str
    sd: float
    low: float
    high: float
    rounds: int
    detectable: float
    needed: dict[float, int | None]

    @property
    def name(self) -> str:
        """The clock in words."""
        return CLOCKS[self.metric]


@dataclass(frozen=True)
class Noise:
    """The answer of `harness doctor --noise`. cell: what was run; round_s: wall seconds of a round."""

    cell: str
    round_s: float
    clocks: list[Clock]
    seen: dict[str, str]
    untold: list[str]
    advice: list[str]


def clock_of(metric: str, rounds: Sequence[Sequence[float]]) -> Clock:
    """From the seconds of every arm (identical code) in every round.

    The variance is that of a pair's log ratio, the mean over all pairs of arms; its interval is that of χ² with
    (rounds − 1)(arms − 1) degrees of freedom: drift of a round is in none of it. Raises ValueError below two rounds.
    """
    logs = np.log(np.asarray(rounds, dtype=np.float64))
    if len(logs) < 2:
        raise ValueError(f"{len(logs)} rounds: a spread needs two")
    pairs = Paired.of([logs[:, one] - logs[:, other] for one, other in itertools.combinations(range(logs.shape[1]), 2)])
    sd = math.sqrt(float(np.mean(pairs.sd**2)))
    reach = float(detectable(sd / math.sqrt(ROUNDS), ROUNDS - 1, ALPHA))
    needed = {effect: _needed(sd, effect) for effect in EFFECTS}
    df = (len(logs) - 1) * (logs.shape[1] - 1)
    low, high = (sd * math.sqrt(df / float(stats.chi2.ppf(tail, df))) for tail in (0.975, 0.025))
    return Clock(metric, sd, low, high, len(logs), math.expm1(reach), needed)


def _needed(sd: float, effect: float) -> int | None:
    """Rounds in all; never fewer than a verdict asks for."""
    found = rounds_needed(sd, math.log1p(effect), ALPHA)
    return None if found is None else max(ROUNDS_AT_LEAST, found)


def noise(
    cell: str,
    rounds: Sequence[Mapping[str, Sequence[float]]],
    round_s: float,
    moments: tuple[Moment, Moment],
    around: Surroundings,
    threads: int = 1,
) -> Noise:
    """Put together what was measured and what was seen. rounds: by metric, seconds of every arm."""
    clocks = [
        clock_of(metric, known)
        for metric in CLOCKS
        if len(known := [each[metric] for each in rounds if metric in each]) > 1
    ]
    seen, untold = what_was_seen(*moments, around)
    return Noise(cell, round_s, clocks, seen, untold, advice(*moments, around, clocks, threads))


def words(found: Noise) -> list[str]:
    """What the machine can tell apart, in sentences."""
    if not found.clocks:
        return [f"Nothing can be said: no two rounds of {found.cell} ended well."]
    spread = listed([f"{percent(each.sd)} [{_between(each)}] in {each.name}" for each in found.clocks])
    reach = listed([f"{percent(each.detectable)} in {each.name}" for each in found.clocks])
    taken = count(found.clocks[0].rounds, "round")
    return [
        f"Identical code differs from itself here by {spread} (SD of a round's ratio and its "
        f"95 % interval, {taken} of {found.cell}).",
        f"With {ROUNDS} rounds a difference of {reach} is found nine times in ten; that takes "
        f"{duration(ROUNDS * found.round_s)} a cell.",
    ]


def _between(clock: Clock) -> str:
    return ", ".join(digits(100 * end, 2) for end in (clock.low, clock.high))


def effort(found: Noise) -> list[dict[str, str]]:
    """A row per effect: the rounds that each clock needs for it and how long they take."""
    return [
        {"a difference of": percent(effect)}
        | {f"by {each.name}": _rounds_text(each.needed[effect], found.round_s) for each in found.clocks}
        for effect in EFFECTS
    ]


def _rounds_text(needed: int | None, round_s: float) -> str:
    return "not with 10,000 rounds" if needed is None else f"{count(needed, 'round')}, {duration(needed * round_s)}"


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


def advice(
    before: Moment, after: Moment, around: Surroundings, clocks: Sequence[Clock] = (), threads: int = 1
) -> list[str]:
    """What would make smaller effects visible, by what was seen; empty where nothing is in the way."""
    found = [
        _other_work(before, after, around, threads),
        _stolen(before, after, around),
        _throttled(before, after, around),
        _threads(around),
        _governor(around),
        _turbo(around),
        _swapping(before, after),
        _worse_clock(clocks),
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


def _worse_clock(clocks: Sequence[Clock]) -> str:
    by = {each.metric: each for each in clocks}
    if not {"step_s", "step_cpu_s"} <= by.keys() or by["step_s"].sd < WALL_WORSE * by["step_cpu_s"].sd:
        return ""
    ratio = by["step_s"].sd / by["step_cpu_s"].sd if by["step_cpu_s"].sd else math.inf
    return (
        f"Wall time is {digits(ratio, 2)} times as noisy as CPU time: on this machine go by verdicts on CPU time where "
        "a step is bound by computing."
    )
