"""Identical code against itself, here and now: rounds of `harness ab` whose three arms are this harness, nothing kept.

The cell is small, of the kind that `harness ab` is for: one rank that computes on one core, or on one accelerator.
"""

from __future__ import annotations

import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.machine.contention import Moment, Surroundings, moment, surroundings
from harness.machine.inventory import Inventory
from harness.run.ab.rounds import Played, Player, play, taking_turns
from harness.run.ab.server import Server
from harness.run.ab.session import ARMS
from harness.run.ab.specs import OWN_TREE, Version
from harness.run.executors import local
from harness.run.executors.interrupts import terminated_is_interrupted
from harness.run.plan import make_plan
from harness.schema.errors import HarnessError
from harness.schema.record import Status
from harness.schema.suite import Suite
from harness.schema.trial import Trial

ROUNDS_AT_LEAST = 3
FAILURES_AT_MOST = 2
CLOCKS = ("step_s", "step_cpu_s")


@dataclass
class Sampled:
    """What was measured. rounds: by clock, seconds per step of every arm; round_s: wall seconds of a round."""

    cell: str
    threads: int
    before: Moment
    around: Surroundings
    after: Moment
    rounds: list[dict[str, list[float]]] = field(default_factory=list)
    round_s: float = 0.0


def small_cell(inventory: Inventory) -> Trial:
    """The trial that is run against itself: gpt/nano on one device of this machine; a CPU's device is one core."""
    kind = inventory.kind("auto")
    suite = {
        "question": "What can be told apart here?",
        "baseline": {"strategy": "single"},
        "fixed": {
            "workload": "gpt", "size": "nano", "strategy": "single", "precision": "fp32", "global_batch": 8,
            "micro_batch": 8, "devices": inventory.count("cpu") if kind == "cpu" else 1,
        },
    }  # fmt: skip
    plan = make_plan(Suite.model_validate(suite), inventory)
    if not plan.trials:
        raise HarnessError(f"doctor --noise: gpt/nano cannot run here: {plan.unsupported[0][1]}")
    return plan.trials[0]


def sample(inventory: Inventory, seconds: float, observe: Callable[[int, float], None]) -> Sampled:
    """Play rounds for so many seconds, three at least. observe: is told rounds done and seconds left.

    Raises HarnessError where the cell does not run here.
    """
    trial, draw = small_cell(inventory), random.Random(secrets.randbits(32))
    local.prepare(trial.workload.name, trial.size, trial.workload.options, [plugin.path for plugin in trial.plugins])
    threads = len(local.jobs(trial, inventory.cores, Path())[0].cores) or 1
    before = moment()
    found = Sampled(trial.label, threads, before, surroundings(), before)
    until = time.monotonic() + seconds
    with terminated_is_interrupted(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dynamometer-")))
        here = Version("this harness", "folder", sys.executable, str(OWN_TREE), OWN_TREE)
        servers = {arm: stack.enter_context(Server(here, folder / f"{arm}.log")) for arm in ARMS}
        for server in servers.values():
            server.greet()
        players = {arm: Player(server, taking_turns(trial)) for arm, server in servers.items()}
        began, failures = time.monotonic(), 0
        while len(found.rounds) < ROUNDS_AT_LEAST or time.monotonic() < until:
            played, _turns = play(players, inventory.cores, draw, count=False)
            if any(each.status is not Status.OK for each in played.values()):
                failures += 1
                _give_up(played, failures)
                continue
            found.rounds.append(_seconds(played))
            found.round_s = (time.monotonic() - began) / (len(found.rounds) + failures)
            observe(len(found.rounds), max(0.0, until - time.monotonic()))
    found.after = moment()  # the servers are gone: what their ranks computed counts as ours
    return found


def _give_up(played: Mapping[str, Played], failures: int) -> None:
    if failures >= FAILURES_AT_MOST:
        reason = next(each.reason for each in played.values() if each.status is not Status.OK)
        raise HarnessError(f"doctor --noise: a round of identical code did not end well: {reason}")


def _seconds(played: Mapping[str, Played]) -> dict[str, list[float]]:
    """By clock, in the order of the arms, where all have it: a clock that stood still has none."""
    by_clock = {clock: [played[arm].metrics.get(clock) for arm in ARMS] for clock in CLOCKS}
    return {
        clock: [value for value in values if value is not None]
        for clock, values in by_clock.items()
        if None not in values
    }
