"""What the parent names when it asks for a child: importable without torch, so that the parent stays without it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def rank(job_json: str) -> None:
    """Run one rank of a trial; never returns."""
    die_with_parent()
    from harness.measure.worker import run

    run(job_json)


def probe(result_path: str) -> None:
    """Write what this machine has as JSON (machine.inventory.Inventory)."""
    die_with_parent()
    from harness.machine.probe import probe as look

    leave(Path(result_path), look().model_dump(mode="json"))


def prepare(result_path: str, workload_json: str) -> None:
    """Build a workload once so that its data are cached; write what the page says about it, or why it failed."""
    die_with_parent()
    from harness.measure.prepare import prepare as build

    leave(Path(result_path), build(workload_json))


def count_flops(result_path: str, workload_json: str) -> None:
    """Write the FLOPs of a workload per sample, or why they cannot be counted."""
    die_with_parent()
    from harness.measure.flops import count

    leave(Path(result_path), count(workload_json))


def peak(result_path: str, asked_json: str) -> None:
    """Write the peak of what one rank computes on (schema.record.Peak)."""
    die_with_parent()
    from harness.measure.peak import peak as measure

    leave(Path(result_path), measure(asked_json))


def leave(path: Path, content: object) -> None:
    """Write what the child was asked for, whole, and end it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    os.replace(part, path)
    os._exit(0)


def die_with_parent(parent: int = 0) -> None:
    """End this process when its parent ends, however that ends (Linux; elsewhere the executor's own kill must do).

    parent: its process id; 0: the fork server, which is never process 1.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent if parent else os.getppid() == 1:
        os._exit(1)
