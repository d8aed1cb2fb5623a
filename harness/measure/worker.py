"""One rank of one trial: seed → build → wrap → applied facts → warm up until steady → timed window → extras → result.

    harness.measure.worker.run(job_json)                      in a process forked by the executor
    python -m harness.measure.worker TRIAL.json FOLDER        under torchrun, Slurm, …: one process per rank

The rank writes its result whole, by write-then-rename, whenever a phase begins, so that whatever kills it leaves
behind how far it came. Then it leaves by `os._exit`: destroying DDP's reducer joins gloo's thread while holding the
interpreter lock which that thread needs, and one trial in twenty would hang for ever.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from harness.machine.device import open_device
from harness.measure.applied import NotApplied
from harness.measure.job import Job, write_result
from harness.measure.series import Diverged
from harness.measure.session import measure
from harness.schema.record import Phase, RankResult, Status
from harness.schema.registry import load_plugin
from harness.schema.trial import Trial
from harness.strategies import Unsupported

RENDEZVOUS_TIMEOUT_S = 120.0


def run(job_json: str, work: Callable[[Job, RankResult], None] = measure) -> None:
    """Run one rank to its end in a process of its own; never returns. work: what it does once it is among its peers."""
    job = Job.model_validate_json(job_json)
    result = RankResult(rank=job.rank, phase=Phase.START, host=socket.gethostname(), pid=os.getpid())
    exit_code = 1
    try:
        settle(job)
        _join(job, result)
        work(job, result)
        exit_code = 0
    except BaseException as error:
        explain(error, job, result)
    finally:
        write_result(job.result_path(), result)
        end_compilers()
        shutil.rmtree(job.temporary_folder(), ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def end_compilers() -> None:
    """End the processes that torch.compile may have started: they would outlive a rank that leaves by `os._exit`."""
    pools = sys.modules.get("torch._inductor.async_compile")
    if pools is not None:
        pools.shutdown_compile_workers()


def settle(job: Job) -> None:
    """Make the process ready: output into the trial's folder, its cores and threads, stacks on SIGUSR1.

    Threads are set after the affinity and before the first operation: the other order leaves them on one core.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.open(Path(job.folder) / f"rank-{job.rank}.stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    torch.set_num_threads(job.threads)
    tempfile.tempdir = job.temporary_folder()
    if job.loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"


def _join(job: Job, result: RankResult) -> None:
    """Load the plug-ins, take the device, meet the other ranks."""
    for plugin in job.trial.plugins:
        load_plugin(Path(plugin.path))
    device = open_device(job.trial.device, job.local_rank)
    device.activate()  # before NCCL, which binds to the current device
    result.device, result.threads, result.cores = device.name, job.threads, sorted(os.sched_getaffinity(0))
    if job.world_size > 1:
        dist.init_process_group(
            device.backend,
            init_method=job.init or "env://",
            rank=job.rank,
            world_size=job.world_size,
            timeout=_timeout(job.trial),
        )


def _timeout(trial: Trial) -> timedelta:
    return timedelta(seconds=min(RENDEZVOUS_TIMEOUT_S, trial.timeout_s) + 5)


def explain(error: BaseException, job: Job, result: RankResult) -> None:
    """Say in the result how the rank ended, as far as it knows itself."""
    device = open_device(job.trial.device, job.local_rank)
    limited = device.lift_memory_limit()  # first of all: what follows takes memory
    result.error = f"{type(error).__name__}: {' '.join(str(error).split())}"[:2000]
    result.traceback = traceback.format_exc()[-8000:]
    traceback.print_exc()
    if isinstance(error, NotApplied):
        result.status, result.applied, result.error = Status.NOT_APPLIED, error.facts, str(error)
    elif isinstance(error, Unsupported):
        result.status, result.error = Status.UNSUPPORTED, str(error)
    elif isinstance(error, Diverged):
        result.status, result.error = error.status, str(error)
    elif device.is_out_of_memory(error, limited):
        result.status = Status.OOM


def main(arguments: list[str]) -> None:
    """Entry of engines that start one process per rank: rank and rendezvous stand in the environment."""
    trial = Trial.model_validate_json(Path(arguments[0]).read_text())
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cores = sorted(os.sched_getaffinity(0))
    local, ranks_here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = max(1, len(cores) // ranks_here)
    mine = cores[local * share : (local + 1) * share]
    job = Job(
        trial=trial, rank=rank, local_rank=local, world_size=world, folder=arguments[1], cores=mine,
        threads=share, started=time.monotonic(), loopback=False,
    )  # fmt: skip
    run(job.model_dump_json())


if __name__ == "__main__":
    main(sys.argv[1:])
