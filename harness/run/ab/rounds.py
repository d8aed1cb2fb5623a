"""One round of one cell: fresh processes of every arm, which take turns in blocks, in orders drawn at random.

    create: one arm after the other, in random order, until each has warmed up
    block:  each arm has one turn of a few steps, in random order; the first block is not counted
    leave:  in random order; in a stage's first round the arms count bytes and FLOPs in steps of their own

All ranks of all arms wait on their sockets but those of the arm whose turn it is: never two on the same cores.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harness.measure.parity import check_parity, loosest
from harness.run.ab.adjacent import seconds_by_ratio
from harness.run.ab.arm import Arm, Failed
from harness.run.ab.server import Server
from harness.run.executors.interrupts import HeldBack
from harness.schema.record import Record, Status, StepSeries
from harness.schema.trial import Trial

BLOCKS = 10
BLOCKS_AT_LEAST = 4
STEPS = 4
"""Most steps of a turn; fewer where they are long:"""
TURN_S = 0.25
ROUND_S = 6.0
"""Blocks are fewer where the turns of a round would take longer than that."""
WARMUP_STEPS = 8
PARITY_STEPS = 3
PADDING_BYTES = 1 << 20
COUNTED = ("peak_allocated_bytes", "communicated_bytes", "model_flops")
KEPT = (*COUNTED, "parameters", "compile_s", "joules_per_sample")
UNKNOWN = "UnknownName"
T = TypeVar("T")
Turns = list[dict[str, tuple[list[float], list[float]]]]
"""By block, by arm: wall and CPU seconds of each step."""


@dataclass(frozen=True)
class Played:
    """How a round ended for one arm. known: its version has all that the cell names."""

    status: Status
    reason: str
    metrics: dict[str, float]
    known: bool = True


@dataclass(frozen=True)
class Player:
    """What an arm is played with: the server of its version, and the cell as that version has it."""

    server: Server
    trial: Trial


def taking_turns(trial: Trial) -> Trial:
    """The cell's trial as the ranks of an arm are asked: a fixed warm-up, no evaluation, a schedule long enough."""
    steps = (BLOCKS + 1) * STEPS + 10
    warmup = max(WARMUP_STEPS, trial.warmup_steps or 0)
    changes = {"warmup_steps": warmup, "parity_steps": PARITY_STEPS, "steps": max(steps, trial.steps), "eval_every": 0}
    return trial.model_copy(update=changes)


def play(
    players: Mapping[str, Player], cores: Sequence[int], draw: random.Random, count: bool
) -> tuple[dict[str, Played], Turns]:
    """Play one round. Raises KeyboardInterrupt with every process of it ended."""
    with HeldBack() as stopping:
        arms = {
            name: Arm(players[name].server, players[name].trial, cores, draw.randrange(PADDING_BYTES))
            for name in draw.sample(list(players), len(players))
        }
        try:
            with stopping.let_through():
                turns = _turns(arms, draw)
                _leave(arms, draw, COUNTED if count else ())
        except BaseException:
            for arm in arms.values():
                arm.abandon()
            raise
        ended = {name: arm.end() for name, arm in arms.items()}
    return _judged(ended, turns), turns


def _turns(arms: Mapping[str, Arm], draw: random.Random) -> Turns:
    for arm in arms.values():  # dictionaries keep the order that was drawn
        _tried(arm, arm.begin)
    settling = _block(arms, draw, STEPS)
    slowest = max((statistics.median(wall) for wall, _cpu in settling.values()), default=1.0)
    steps = max(1, min(STEPS, round(TURN_S / slowest)))
    blocks = max(BLOCKS_AT_LEAST, min(BLOCKS, round(ROUND_S / (slowest * steps * len(arms)))))
    return [_block(arms, draw, steps) for _ in range(blocks)]


def _block(arms: Mapping[str, Arm], draw: random.Random, steps: int) -> dict[str, tuple[list[float], list[float]]]:
    found = {}
    for name in draw.sample(list(arms), len(arms)):
        told = _tried(arms[name], partial(arms[name].turn, steps))
        if told is not None:
            found[name] = told
    return found


def _leave(arms: Mapping[str, Arm], draw: random.Random, wanted: Sequence[str]) -> None:
    for name in draw.sample(list(arms), len(arms)):
        _tried(arms[name], partial(arms[name].leave, wanted))


def _tried(arm: Arm, act: Callable[[], T]) -> T | None:
    """What an arm answers; None where it cannot go on, and from then on."""
    if not arm.ok:
        return None
    try:
        return act()
    except Failed:
        return None


def _judged(ended: Mapping[str, tuple[Record, StepSeries]], turns: Turns) -> dict[str, Played]:
    well = [name for name, (record, _series) in ended.items() if record.status is Status.OK]
    whole = [{name: block[name] for name in well} for block in turns if all(name in block for name in well)]
    seconds = [seconds_of(whole, which) if well and whole else {} for which in (0, 1)]
    found = {}
    for name, (record, _series) in ended.items():
        metrics = {key: value for key, value in record.metrics.items() if key in KEPT}
        for metric, by_arm in zip(("step_s", "step_cpu_s"), seconds, strict=True):
            if name in by_arm:
                metrics[metric] = by_arm[name]
        unknown = any((rank.error or "").startswith(UNKNOWN) for rank in record.per_rank)
        found[name] = Played(record.status, record.reason or "", metrics, not unknown)
    if different := _another_thing(ended):
        for name in ("a", "b"):
            found[name] = Played(Status.PARITY_FAILED, different, {})
    return found


def seconds_of(blocks: Turns, which: int) -> dict[str, float]:
    """Seconds per step of each arm. which: 0 wall, 1 CPU; where that clock stood still in a step there are none."""
    seconds = [{name: told[which] for name, told in block.items()} for block in blocks]
    if any(step <= 0 for block in seconds for steps in block.values() for step in steps):
        return {}
    return seconds_by_ratio(seconds, "a" if "a" in blocks[0] else next(iter(blocks[0])))


def _another_thing(ended: Mapping[str, tuple[Record, StepSeries]]) -> str | None:
    """What to say where both versions ended well but did not train the same; the order of additions may differ."""
    (a, first), (b, second) = ended["a"], ended["b"]
    if a.status is not Status.OK or b.status is not Status.OK:
        return None
    facts = [record.per_rank[0].facts for record in (a, b)]
    if facts[0].get("data_hash") != facts[1].get("data_hash"):
        return "another thing was trained: A and B have other data"
    ours, theirs = ([each.columns[key][:PARITY_STEPS] for key in ("loss", "grad_norm")] for each in (second, first))
    equivalence = loosest("reordered", str(facts[0].get("equivalence", "exact")))
    found = check_parity(ours[0], ours[1], theirs[0], theirs[1], equivalence)
    said = str(found.reason).replace("of one process in fp32", "of A")
    return f"another thing was trained: {said}" if found.status == "failed" else None
