"""Are the verdicts right here and now? `harness ab` for real: a commit that is slower by its own work, and itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, say
from benchmarks.slowed_repository import made

SLOWED = {
    "square": (120.0, "CPU time of a CPU-bound step 3 % slower by its own arithmetic is `regressed`"),
    "streams": (240.0, "CPU time of a memory-bound step 5 % slower by its own traffic is `regressed`"),
}
"""By workload of the repository: the seconds within which it is to be found, and the figure's name."""
IDENTICAL = "identical"
LIVE = (*SLOWED, IDENTICAL)


@dataclass(frozen=True)
class Try:
    """One `harness ab`: its verdict on CPU time, B ÷ A, the wall seconds it took, the load average at its end."""

    verdict: str
    effect: float
    seconds: float
    load: float


def live(tries: int, names: Sequence[str] = LIVE) -> list[Figure]:
    """So many tries of each: two steps that are slower in the head, and identical code."""
    told: dict[str, list[Try]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="calibrate-") as folder:
        repository = Path(folder) / "repository"
        base, head = made(repository)
        for number in range(tries):
            for name, found in told.items():
                slowed = name in SLOWED
                one = _ab(repository, base, head if slowed else base, name if slowed else "square")
                found.append(one)
                took = f"in {one.seconds:.0f} s at a load of {one.load:.1f}"
                say(f"try {number + 1}: {name}: {one.verdict} {one.effect - 1:+.1%} {took}")
    return [_slowed(name, found) if name in SLOWED else _identical(found) for name, found in told.items()]


def _identical(told: Sequence[Try]) -> Figure:
    """How often identical code was not flagged."""
    alarms = sum(each.verdict not in ("same", "undecided") for each in told)
    measured = f"{len(told) - alarms} of {len(told)} ({_loads(told)})"
    return Figure("identical code is not flagged", "all", measured, alarms == 0)


def _slowed(name: str, told: Sequence[Try]) -> Figure:
    """How often the slower head was found in time."""
    within_s, what = SLOWED[name]
    found = sum(each.verdict == "regressed" and each.seconds <= within_s for each in told)
    taken = [each.seconds for each in told]
    seen = np.nanmean([each.effect for each in told]) - 1
    took = f"seen as {seen:+.1%}, median {np.median(taken):.0f} s, slowest {max(taken):.0f} s, {_loads(told)}"
    measured = f"{found} of {len(told)} ({took})"
    return Figure(f"{what} within {within_s:.0f} s", "≥ 95 %", measured, found >= 0.95 * len(told))


def _loads(told: Sequence[Try]) -> str:
    loads = [each.load for each in told]
    return f"load {min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores"


def _ab(repository: Path, a: str, b: str, workload: str) -> Try:
    """The verdict on CPU time (any timed one that flags what is identical).

    Not the exit code: FLOPs are counted, and give the planted product away without a clock.
    """
    command = [sys.executable, "-m", "harness.cli", "ab", "--a", a, "--b", b, "speed.toml", "--plugin", "model.py"]
    command += ["--where", f"workload={workload}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--json", "gate.json"], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    seconds, load = time.monotonic() - began, os.getloadavg()[0]
    if done.returncode not in (0, 1):
        return Try(f"exit code {done.returncode}: {done.stderr.strip()[-200:]}", math.nan, seconds, load)
    judgements = json.loads((repository / "gate.json").read_text())["judgements"]
    by_metric = {each["metric"]: each for each in judgements}
    cpu, wall = by_metric["step_cpu_s"], by_metric["step_s"]
    if a == b and wall["verdict"] not in ("same", "undecided"):
        cpu = wall
    return Try(cpu["verdict"], cpu["effect"], seconds, load)
