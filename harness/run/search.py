"""The largest micro-batch that fits: what to try next, given the tries so far. Pure but for `search`'s attempts.

The largest candidate comes first: where it fits nothing else need be tried. Then the gap between the largest that
fitted and the smallest that did not is halved until they are neighbours. A refusal at the edge is tried a second time,
since memory may have been short for a reason that has passed (another process on the device): nothing is made smaller
for one failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.schema.record import Phase, Record, Status, Try
from harness.schema.trial import Trial

DEADLY = ("SIGKILL", "SIGABRT", "SIGSEGV", "SIGBUS")
"""Signals by which a process dies when memory is at an end."""
REFUSALS = 2
"""Tries that must run out of memory before the next smaller micro-batch is called the largest that fits."""


@dataclass(frozen=True)
class Next:
    """The micro-batch to try next."""

    micro_batch: int


@dataclass(frozen=True)
class Search:
    """How a search ended. micro_batch: the largest that fits; None: there is none, and status, reason and phase are
    those of every trial that it was for.
    """

    tries: tuple[Try, ...]
    micro_batch: int | None = None
    status: Status = Status.OK
    reason: str | None = None
    phase: Phase = Phase.DONE


def decide(among: Sequence[int], tries: Sequence[Try]) -> Next | Search:
    """What to try next, or how the search ended. among: the candidates.

    It goes by: what fits, smaller fits too. A try that ended neither well nor for want of memory ends the search: it
    says nothing about sizes.
    """
    for each in tries:
        if each.status is not Status.OK and not ran_out(each):
            return _stopped(tries, each)
    fitted = max((each.micro_batch for each in tries if each.status is Status.OK), default=0)
    refused = [each.micro_batch for each in tries if each.status is not Status.OK and each.micro_batch > fitted]
    edge = min(refused, default=None)
    between = [size for size in sorted(among) if fitted < size and (edge is None or size < edge)]
    if between:
        return Next(between[-1] if edge is None else between[len(between) // 2])
    if edge is not None and refused.count(edge) < REFUSALS:
        return Next(edge)
    return Search(tuple(tries), fitted) if fitted else _nothing(tries)


def tries_at_most(among: Sequence[int]) -> int:
    """The most tries a search takes where refusals are true: the largest, halving what is left, the edge once more."""
    return (len(among) - 1).bit_length() + REFUSALS if among else 0


def ran_out(tried: Try) -> bool:
    """Whether the try ended for want of memory, as far as can be told.

    Not every end says so: the kernel kills a process where the machine's memory is at an end, and libraries die of a
    null pointer. Such a try counts as one that does not fit, and its record says what happened.
    """
    return tried.status is Status.OOM or (tried.status is Status.CRASHED and tried.signal in DEADLY)


def _stopped(tries: Sequence[Try], by: Try) -> Search:
    reason = f"the search for the largest micro-batch ended at {by.micro_batch}: {by.reason or by.status}"
    return Search(tuple(tries), status=by.status, reason=reason, phase=by.phase)


def _nothing(tries: Sequence[Try]) -> Search:
    least = min(tries, key=lambda each: each.micro_batch)
    reason = f"even micro_batch {least.micro_batch} did not fit: {least.reason or least.status}"
    return Search(tuple(tries), status=least.status, reason=reason, phase=least.phase)


def search(trial: Trial, attempt: Callable[[Trial], Record]) -> Search:
    """Try micro-batches of a trial until it is known which is the largest that fits. attempt: runs one try."""
    tries: list[Try] = []
    while True:
        decision = decide(trial.among, tries)
        if isinstance(decision, Search):
            return decision
        tries.append(try_of(attempt(fit_trial(trial, decision.micro_batch))))


def fit_trial(trial: Trial, micro_batch: int) -> Trial:
    """The trial that tries whether this micro-batch fits; the same for all rounds and seeds of a cell."""
    return trial.with_micro_batch(micro_batch, kind="fit", among=(), searched=False)


def try_of(record: Record) -> Try:
    """What the record of a try tells."""
    blamed = (rank.signal for rank in record.per_rank if f"rank {rank.rank}: killed by" in (record.reason or ""))
    return Try(
        micro_batch=record.trial.micro_batch,
        status=record.status,
        reason=record.reason,
        phase=record.phase,
        signal=next(blamed, None),
        peak_allocated_bytes=record.metrics.get("peak_allocated_bytes"),
    )
