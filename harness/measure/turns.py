"""One rank of an arm of `harness ab`: built and warmed up as any trial, then it waits and takes its turns.

A turn is a few steps under the clock. Between turns the process blocks on its socket, so that the arm whose turn it is
has the cores alone. Each turn ends with its seconds told; at the end come the monitors' own steps that are asked for,
and the result is left as a trial leaves it.
"""

from __future__ import annotations

import json
import socket
import statistics
from functools import partial
from typing import Any

import torch

from harness import monitors
from harness.measure.dropout import without_dropout
from harness.measure.flops import flops_per_sample
from harness.measure.job import Job
from harness.measure.loop import Laps, run_laps
from harness.measure.series import keep_series
from harness.measure.session import Session, describe, units_per_sample, warm_up
from harness.measure.training import Training, build_training
from harness.measure.worker import run
from harness.schema.record import Phase, RankResult


class Asking:
    """Who gives the turns, at the other end of a Unix socket: JSON lines."""

    def __init__(self, address: str, rank: int):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._lines = self._socket.makefile("rb")
        self.tell({"rank": rank})
        self.asked()

    def tell(self, content: dict[str, Any]) -> None:
        """Send one line."""
        self._socket.sendall(json.dumps(content).encode() + b"\n")

    def asked(self) -> dict[str, Any]:
        """Wait for the next line. Raises ConnectionError where nobody will ask any more."""
        line = self._lines.readline()
        if not line:
            raise ConnectionError("who gave the turns is gone")
        found: dict[str, Any] = json.loads(line)
        return found


def take_turns(job_json: str, address: str, padding_bytes: int) -> None:
    """Run one rank to its end; never returns.

    padding_bytes: allocated before anything else and kept. Children of one server begin with the same heap: without it
    one version would have the luckier addresses in every round.
    """
    asking = Asking(address, Job.model_validate_json(job_json).rank)
    run(job_json, partial(_take_turns, asking=asking, padding_bytes=padding_bytes))


def _take_turns(job: Job, result: RankResult, *, asking: Asking, padding_bytes: int) -> None:
    padding = torch.ones(max(1, padding_bytes), dtype=torch.uint8)
    session = Session(job, result)
    with session.phase(Phase.BUILD):
        training = build_training(job.trial, job.rank, job.world_size, job.local_rank)
        training.wants_grad_norm = True
        describe(training, result)
    with session.phase(Phase.WARMUP), session.counted_as_training(), without_dropout(training) as dropout:
        result.facts["warmup"] = warm_up(session, training, dropout).model_dump()
    training.wants_grad_norm = False
    keep_series(session.laps, training, result, timed=False)
    asking.tell({"ready": True})
    wanted = _window(session, training, asking)
    training.device.lift_memory_limit()
    with session.phase(Phase.EXTRA):
        _count(session, training, wanted)
    result.phase = Phase.DONE
    del padding


def _window(session: Session, training: Training, asking: Asking) -> set[str]:
    """Turns, until asked to leave; returns the names of the counted figures that are wanted."""
    timed, first = Laps(), training.steps_done
    for monitor in session.monitors:
        monitor.window_begins(training)
    with session.phase(Phase.TIMED), session.counted_as_training():
        while "steps" in (asked := asking.asked()):
            for monitor in session.monitors:
                monitor.stretch_begins(training)
            laps = run_laps(training, asked["steps"])
            for monitor in session.monitors:
                monitor.stretch_ends(training)
            timed += laps
            session.laps += laps
            keep_series(session.laps, training, session.result, timed=True)
            asking.tell({"step_s": laps.step_s, "cpu_s": laps.cpu_s})
    for monitor in session.monitors:
        monitor.window_ends(training, session.result)
    steps = len(timed.step_s)
    session.result.facts["units_per_sample"] = units_per_sample(training, first, steps)
    session.result.metrics |= {
        "step_s": statistics.median(timed.step_s),
        "step_cpu_s": statistics.median(timed.cpu_s),
        "window_s": timed.wall_s,
        "window_samples": session.trial.global_batch / training.place.world_size * steps,
    }
    return set(asked["leave"])


def _count(session: Session, training: Training, wanted: set[str]) -> None:
    """FLOPs, and the own steps of those monitors that count what is wanted; what fails costs its figures only."""
    absent = session.result.facts.setdefault("absent", {})
    if "model_flops" in wanted:
        try:
            flops, _device = flops_per_sample(training.workload)
            session.result.metrics["model_flops"] = flops * session.trial.global_batch
        except Exception as error:
            absent["model_flops"] = f"{type(error).__name__}: {error}"
    for monitor, entry in zip(session.monitors, monitors.registry.entries(), strict=True):
        if wanted & set(entry.facts.metrics):
            try:
                monitor.after(training, session.result)
            except Exception as error:
                absent[entry.name] = f"{type(error).__name__}: {error}"
                return
