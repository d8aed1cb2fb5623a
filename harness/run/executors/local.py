"""Trials on this machine: fresh processes from the fork server, pinned to their share of the cores.

The parent blocks while it waits, on the processes' sentinels; it would otherwise steal the core that it measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

from harness.machine.inventory import Inventory
from harness.measure import entry
from harness.measure.job import Job, artifacts_folder, result_path, trace_folder
from harness.predict import entry as predicting
from harness.run.executors.forkserver import start
from harness.run.executors.interrupts import HeldBack
from harness.run.store import ARTIFACTS, TRACES, traces_name
from harness.schema.errors import HarnessError
from harness.schema.record import Peak, Phase, RankResult
from harness.schema.suite import Choice
from harness.schema.trial import Trial

PEER_GRACE_S = 5.0
"""after one rank has failed the others may notice by themselves and say so; then they are ended"""
STACKS_GRACE_S = 0.5
STDERR_TAIL = 4000
PREPARE_TIMEOUT_S = 600.0
FLOPS_TIMEOUT_S = 120.0
PEAK_TIMEOUT_S = 120.0
PREDICT_TIMEOUT_S = 180.0

Ended = Literal["exit", "timeout", "interrupt"]


@dataclass
class Execution:
    """How a trial's processes ended. ranks: what each left; seconds are wall, times since the epoch.

    artifacts: what it is → path of the file that was kept, from the folder above it.
    """

    ranks: list[RankResult]
    ended: Ended
    started_at: float
    ended_at: float
    load: tuple[float, float] = field(default=(0.0, 0.0))
    artifacts: dict[str, str] = field(default_factory=dict)


def probe() -> Inventory:
    """What this machine has, as a child sees it. Raises HarnessError where the child cannot tell."""
    return Inventory.model_validate(_ask(entry.probe, "what this machine has"))


def prepare(name: str, size: str, options: dict[str, Any], plugins: Sequence[str]) -> dict[str, Any]:
    """Cache a workload's data in a child; returns what is known of it (see measure/prepare)."""
    asked = json.dumps({"name": name, "size": size, "options": options, "plugins": list(plugins)})
    found: dict[str, Any] = _ask(entry.prepare, f"workload {name}/{size}", asked)
    return found


def count_flops(name: str, size: str, options: dict[str, Any], plugins: Sequence[str]) -> dict[str, Any]:
    """Count a workload's FLOPs in a child of its own: a model that ends it costs this figure only (measure/flops)."""
    asked = json.dumps({"name": name, "size": size, "options": options, "plugins": list(plugins)})
    try:
        found: dict[str, Any] = _ask(entry.count_flops, f"FLOPs of {name}/{size}", asked, within_s=FLOPS_TIMEOUT_S)
    except HarnessError as error:
        return {"flops_absent": str(error)}
    return found


def measure_peak(device: str, cores: Sequence[int], precision: Choice, plugins: Sequence[str]) -> Peak:
    """Time matrix products in a child on what one rank has (see measure/peak); absent where the child cannot."""
    asked = json.dumps(
        {"device": device, "cores": list(cores), "precision": precision.model_dump(), "plugins": list(plugins)}
    )
    try:
        what = f"the peak in {precision.label} on {device}"
        return Peak.model_validate(_ask(entry.peak, what, asked, within_s=PEAK_TIMEOUT_S))
    except HarnessError as error:
        return Peak(device=device, cores=len(cores) or None, precision=precision.label, absent=str(error))


def predict(asked: str) -> list[dict[str, Any]]:
    """Predict the memory of trials in a child (see predict/answers). Raises HarnessError where it does not end."""
    what = "how much memory cells take"
    found: list[dict[str, Any]] = _ask(predicting.predict, what, asked, within_s=PREDICT_TIMEOUT_S)
    return found


def _ask(function: Any, what: str, *arguments: str, within_s: float = PREPARE_TIMEOUT_S) -> Any:
    """What a child writes down. Raises HarnessError where it ends without, or does not end."""
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
    try:
        answer = folder / "answer.json"
        process = start(function, str(answer), *arguments)
        process.join(within_s)
        if not answer.exists():
            code = process.exitcode
            how = f"not ended after {within_s:g} s" if code is None else f"exit code {code}"
            process.kill()
            raise HarnessError(f"a child process could not tell {what} ({how})")
        return json.loads(answer.read_text())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def execute(
    trial: Trial, cores: Sequence[int], keep: Path | None = None, watch: Callable[[Trial, Path], None] | None = None
) -> Execution:
    """Run a trial in fresh processes until all have ended, it times out, or the person interrupts.

    keep: the folder that is to have the files that the trial leaves (traces, artifacts), in folders of their own;
    watch: is told the folder in which the trial tells how far it is (`measure/progress`), as long as it runs.
    """
    started_at, load = time.time(), os.getloadavg()[0]
    deadline = time.monotonic() + trial.timeout_s
    ended: Ended = "exit"
    with HeldBack() as stopping:
        folder = Path(tempfile.mkdtemp(prefix="dynamometer-"))
        processes = [start(entry.rank, job.model_dump_json()) for job in jobs(trial, cores, folder)]
        if watch is not None:
            watch(trial, folder)
        try:
            with stopping.let_through():
                if not wait(processes, deadline):
                    ended = "timeout"
        except KeyboardInterrupt:
            ended = "interrupt"
        killed = end(processes, stacks=ended != "interrupt")
        ranks = [left_behind(folder, rank, each.exitcode, each in killed) for rank, each in enumerate(processes)]
        artifacts = _kept(_left_files(trial, folder, ranks), keep) if keep is not None else {}
        shutil.rmtree(folder, ignore_errors=True)
    return Execution(ranks, ended, started_at, time.time(), (load, os.getloadavg()[0]), artifacts)


def _left_files(trial: Trial, folder: Path, ranks: Sequence[RankResult]) -> dict[str, tuple[Path, str]]:
    """What the ranks left, by what it is: the file, and where it is to be kept."""
    left = {
        f"trace of rank {rank}": (file, f"{TRACES}/{traces_name(trial)}/{file.name}")
        for rank in range(trial.processes)
        for file in trace_folder(folder, rank).glob("*.json.gz")
    }
    made = ranks[0].facts.get("artifacts") if ranks else None
    for what, name in (made if isinstance(made, dict) else {}).items():
        file = Path(str(name)).name
        left[str(what)] = (artifacts_folder(folder, 0) / file, f"{ARTIFACTS}/{trial.id}-{file}")
    return left


def _kept(left: dict[str, tuple[Path, str]], keep: Path) -> dict[str, str]:
    """Move files to where they are kept; what cannot be moved (a full disk) is lost, the record is not."""
    kept = {}
    for what, (file, name) in left.items():
        with contextlib.suppress(OSError):
            if file.is_file():
                (keep / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(file, keep / name)
                kept[what] = name
    return kept


def jobs(trial: Trial, cores: Sequence[int], folder: Path) -> list[Job]:
    """One order per rank. Which rank gets which share of the cores is drawn by the trial's id: no fixed slots."""
    share = max(1, len(cores) // trial.device_slots)
    slots = max(1, len(cores) // share)  # fewer than ranks where the suite lets them share cores
    shares = [list(cores[i % slots * share : (i % slots + 1) * share]) for i in range(trial.device_slots)]
    random.Random(trial.id).shuffle(shares)
    orders = []
    for rank in range(trial.processes):
        mine = sorted(core for part in shares[rank * trial.shares : (rank + 1) * trial.shares] for core in part)
        orders.append(
            Job(
                trial=trial,
                rank=rank,
                local_rank=rank,
                world_size=trial.processes,
                folder=str(folder),
                init=f"file://{folder}/rendezvous",
                cores=mine,
                threads=max(1, len(mine)),
                started=time.monotonic(),
            )
        )
    return orders


def wait(processes: Sequence[ForkServerProcess], deadline: float) -> bool:
    """Block until all have ended; False at the deadline. One failed rank shortens the deadline of its peers."""
    alive = {process.sentinel: process for process in processes}
    until = deadline
    while alive:
        ready = connection.wait(list(alive), max(0.0, until - time.monotonic()))
        if not ready:
            return until < deadline
        for sentinel in ready:
            assert isinstance(sentinel, int)
            process = alive.pop(sentinel)
            process.join()
            if process.exitcode != 0:
                until = min(until, time.monotonic() + PEER_GRACE_S)
    return True


def end(processes: Sequence[ForkServerProcess], stacks: bool) -> list[ForkServerProcess]:
    """End what still runs and return it; with `stacks` each process first writes its threads' stacks to its stderr."""
    running = [process for process in processes if process.is_alive()]
    if stacks and running:
        for process in running:
            assert process.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)
        time.sleep(STACKS_GRACE_S)
    for process in running:
        process.kill()
    for process in processes:
        process.join()
    return running


def left_behind(folder: Path, rank: int, code: int | None, killed: bool) -> RankResult:
    """What a rank left in the trial's folder. code: its exit code, −n for signal n; killed: by who ran it."""
    try:
        result = RankResult.model_validate_json(result_path(folder, rank).read_text())
    except (OSError, ValueError):
        result = RankResult(rank=rank, phase=Phase.START)
    stderr = folder / f"rank-{rank}.stderr"
    tail = stderr.read_bytes()[-STDERR_TAIL:].decode(errors="replace") if stderr.exists() else ""
    name = signal.Signals(-code).name if code is not None and code < 0 else None
    facts = result.facts | ({"ended_by": "executor"} if killed else {})
    return result.model_copy(update={"exit_code": code, "signal": name, "stderr_tail": tail, "facts": facts})
