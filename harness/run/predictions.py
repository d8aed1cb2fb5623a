"""The predicted memory of trials, asked of a child, and put into their records."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.run.executors import local
from harness.schema.errors import HarnessError
from harness.schema.prediction import Prediction
from harness.schema.record import Record
from harness.schema.trial import Trial

WITHIN_S = 60.0
"""Seconds after which no further cell of a plan is predicted: a run is there to measure."""
Ask = Callable[[str], Sequence[Any]]


def predictions(
    trials: Sequence[Trial], limit_bytes: int | None = None, within_s: float = WITHIN_S, ask: Ask = local.predict
) -> list[Prediction]:
    """What is predicted of these trials' memory, in their order, all in one child; if that fails, why.

    limit_bytes: of a device, by which a micro-batch that is to be found is chosen; within_s: seconds after which no
    further cell is begun.
    """
    if not trials:
        return []
    content = [trial.model_dump(mode="json") for trial in trials]
    try:
        found = ask(json.dumps({"trials": content, "limit_bytes": limit_bytes, "within_s": within_s}))
    except HarnessError as error:
        return [Prediction(absent=str(error))] * len(trials)
    return [Prediction.model_validate(each) for each in found]


@dataclass
class Forecast:
    """Predictions by cell and micro-batch, each asked for once."""

    ask: Ask = local.predict
    _known: dict[tuple[str, int], Prediction] = field(default_factory=dict)

    def look_at(self, trials: Sequence[Trial]) -> None:
        """Ask for all of these at once; a micro-batch that is still to be found has none yet."""
        fixed = {(trial.cell, trial.micro_batch): trial for trial in trials if not trial.among or trial.searched}
        missing = {key: trial for key, trial in fixed.items() if key not in self._known}
        self._known |= zip(missing, predictions(list(missing.values()), ask=self.ask), strict=True)

    def put_into(self, record: Record) -> Record:
        """The record with what was predicted of its trial, or with the reason why nothing was."""
        trial = record.trial
        self.look_at([trial])
        found = self._known.get((trial.cell, trial.micro_batch), Prediction(absent="its micro-batch was not found"))
        absent = {"predicted": found.absent} if found.absent else {}
        return record.model_copy(update={"metrics": record.metrics | found.metrics, "absent": record.absent | absent})
