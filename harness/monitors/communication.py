"""Bytes communicated in a step, by collective: seen in a step of its own, which is never a timed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.monitors import Monitor, register

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult


@register("communication", metrics=("communicated_bytes", "communicated_<collective>_bytes"))
class Communication(Monitor):
    """Payload of a step's collectives on this rank, counted in one step after the window, in the first round only.

    It is the same in each round. `facts.communication` holds the calls. What communicates past PyTorch's process
    groups (an engine of its own, threads that share memory, copies between devices of one process) is not seen: then
    the figures are absent with the reason, and so they are where a process group says that some were missed.
    """

    def after(self, training: Training, result: RankResult) -> None:
        """Train one step and count."""
        if training.trial.repeat != 0:
            return
        why = training.wrapped.unseen
        if why is None:
            from harness.machine.collectives import watched_collectives

            with watched_collectives() as seen:
                training.step()
            result.facts["communication"] = {"calls": dict(seen.calls)}
            if seen.unseen:
                why = f"{seen.unseen} of {seen.unseen + seen.calls.total()} collectives of a step could not be seen"
            else:
                result.metrics["communicated_bytes"] = float(seen.bytes_.total())
                result.metrics |= {f"communicated_{name}_bytes": float(size) for name, size in seen.bytes_.items()}
        if why is not None:
            result.facts.setdefault("absent", {})["communication"] = why
