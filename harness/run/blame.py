"""Who died first: one cause out of what all ranks left behind. Pure.

When one rank dies its peers fail too, with errors of communication, and often end before it does. So what a rank
says of itself outranks everything; then comes a death by signal or an error that is not about communication; errors
of communication count only where there is nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.schema.record import Phase, RankResult, Status

Ended = Literal["exit", "timeout", "interrupt"]
"""How the executor saw the trial end: by itself, at its timeout, or because the run was stopped."""

DECISIVE = (Status.NOT_APPLIED, Status.OOM, Status.DIVERGED, Status.UNSUPPORTED, Status.PARITY_FAILED)
"""Statuses that a rank finds out itself, the strongest first."""

COMMUNICATION = re.compile(
    r"connection (was )?(reset|closed|refused|aborted)|closed by peer|broken pipe|timed out (waiting|after)|"
    r"\bgloo\b|\bnccl\b|ProcessGroup|DistBackendError|DistNetworkError|TCPStore|watchdog|rendezvous|socket|"
    r"HorovodInternalError",
    re.IGNORECASE,
)
"""Errors that a rank has because another one is gone."""

BY_KILL = ("SIGKILL", "SIGTERM")
"""Signals that come from outside the process; at a timeout from the executor, where they say nothing of the cause."""


@dataclass(frozen=True)
class Blame:
    """How the trial ended. reason: one line that names the rank, None for OK; rank: the one to look at, or None."""

    status: Status
    reason: str | None
    phase: Phase
    rank: int | None = None


def blame(ranks: Sequence[RankResult], expected: int, ended: Ended = "exit", timeout_s: float = 0.0) -> Blame:
    """The status of a trial from its ranks. expected: how many ranks there should be."""
    if ended == "interrupt":
        return Blame(Status.INTERRUPTED, "the run was stopped while this trial was running", _earliest(ranks))
    for status in DECISIVE:
        for rank in ranks:
            if rank.status is status:
                return Blame(status, _said(rank, rank.error or status.value), rank.phase, rank.rank)
    if culprit := _culprit(ranks, ended):
        return Blame(Status.CRASHED, _said(culprit, _death(culprit)), culprit.phase, culprit.rank)
    if ended == "timeout":
        phase = _earliest(ranks)
        waiting = ", ".join(f"rank {rank.rank} in {rank.phase}" for rank in ranks) or "no rank had started"
        return Blame(Status.TIMEOUT, f"not ended after {timeout_s:g} s ({waiting})", phase)
    missing = sorted(set(range(expected)) - {rank.rank for rank in ranks})
    if missing:
        names = ", ".join(str(rank) for rank in missing)
        return Blame(Status.CRASHED, f"rank {names} left no result", _earliest(ranks), missing[0])
    return Blame(Status.OK, None, _earliest(ranks))


def _culprit(ranks: Sequence[RankResult], ended: Ended) -> RankResult | None:
    """The rank whose death explains the others', or None where none died of itself."""
    dead = sorted((rank for rank in ranks if _died(rank, ended)), key=_weight)
    if ended == "timeout":
        dead = [rank for rank in dead if not _communicated(rank)]
    return next(iter(dead), None)


def _died(rank: RankResult, ended: Ended) -> bool:
    """Whether the rank died of itself. `facts["ended_by"]` names who else ended it (the executor its peers)."""
    if "ended_by" in rank.facts or (ended == "timeout" and rank.signal in BY_KILL):
        return rank.error is not None
    return bool(rank.signal or rank.error or rank.exit_code or rank.status not in (None, Status.OK))


def _weight(rank: RankResult) -> int:
    """How well this death explains the others: an error of its own best, an error of communication least."""
    if _communicated(rank):
        return 4
    if rank.error:
        return 0
    return (3 if rank.signal in BY_KILL else 1) if rank.signal else 2


def _communicated(rank: RankResult) -> bool:
    """Whether the rank died of an error of communication, and so of another rank's end."""
    if rank.error:
        return COMMUNICATION.search(rank.error) is not None
    # gloo's threads abort the process when a peer is gone; the words are on stderr then.
    return rank.signal == "SIGABRT" and COMMUNICATION.search(rank.stderr_tail) is not None


def _death(rank: RankResult) -> str:
    if rank.error:
        return rank.error
    if rank.signal == "SIGKILL":
        return "killed by SIGKILL (the kernel does so when memory runs out)"
    if rank.signal:
        return f"killed by {rank.signal}"
    last = [line for line in rank.stderr_tail.splitlines() if line.strip()][-1:]
    return f"ended with exit code {rank.exit_code}" + (f": {last[0].strip()}" if last else "")


def _said(rank: RankResult, what: str) -> str:
    return f"rank {rank.rank}: {' '.join(what.split())}"[:500]


def _earliest(ranks: Sequence[RankResult]) -> Phase:
    """The phase of the rank that came least far."""
    order = list(Phase)
    return min((rank.phase for rank in ranks), key=order.index, default=Phase.START)
