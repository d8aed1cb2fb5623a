"""How long a run will still take: by earlier trials on this machine, and by what it has taken until now. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from harness.run.conduct import Event
from harness.run.plan import TRIAL_S, Plan, parity_key
from harness.run.search import tries_at_most


@dataclass(frozen=True)
class _Waiting:
    """What of a planned trial decides its time. Hashes of trials take their time too: they are made once."""

    cell: str
    reference: str
    tries: int


class Remaining:
    """Told of events with their times, says the seconds that are left.

    past: by cell, seconds of an earlier trial on this machine. A cell that this run has timed goes by that; one that
    nothing is known of by the mean of all others, or by a guess.
    """

    def __init__(self, plan: Plan, past: Mapping[str, float]):
        made: dict[tuple[str, int], _Waiting] = {}
        self._waiting: dict[str, _Waiting] = {}
        for trial in plan.trials:
            cell = trial.measured_cell
            known = made.get((cell, trial.seed)) or _Waiting(cell, parity_key(trial), tries_at_most(trial.among))
            self._waiting[trial.id] = made[cell, trial.seed] = known
        cells = {each.cell for each in self._waiting.values()}
        self._known = {cell: seconds for cell, seconds in past.items() if cell in cells}
        self._measured: dict[str, list[float]] = {}
        self._done: set[str] = set()
        """references that ran, cells whose micro-batch was searched for"""
        self._at = self._began = self._now_s = 0.0
        self._left_s = self._counted()

    def observe(self, event: Event, now: float) -> None:
        """Take in what happened at this time (monotonic seconds)."""
        self._now_s = 0.0
        if event.kind == "reference":
            self._done.add(event.trial.id)
        elif event.kind == "tried":
            self._done.add(event.trial.measured_cell)
        elif event.kind == "started":
            self._began = now
            waiting = self._waiting.get(event.trial.id)
            self._now_s = self._seconds(waiting.cell) if waiting else 0.0
        else:
            ended = self._waiting.pop(event.trial.id, None)
            if ended and event.kind == "finished" and event.trial.kind == "measure" and self._began:
                self._measured.setdefault(ended.cell, []).append(now - self._began)
                self._known[ended.cell] = statistics.mean(self._measured[ended.cell])
        self._at, self._left_s = now, self._counted()

    def left_s(self, now: float) -> float:
        """Seconds that are left at this time. A trial that takes longer than was thought holds the rest up."""
        return max(0.0, self._left_s - min(now - self._at, self._now_s))

    def _counted(self) -> float:
        otherwise = self._otherwise()
        waiting = self._waiting.values()
        references = {each.reference for each in waiting} - self._done
        tries = sum({each.cell: each.tries for each in waiting if each.cell not in self._done}.values())
        seconds = sum(self._known.get(each.cell, otherwise) for each in waiting)
        return seconds + (len(references) + tries) * min(otherwise, TRIAL_S)

    def _seconds(self, cell: str) -> float:
        return self._known.get(cell, self._otherwise())

    def _otherwise(self) -> float:
        return statistics.mean(self._known.values()) if self._known else TRIAL_S
