"""Predictions of many trials in one child: cells that are alike are predicted once, what fails says why."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness.predict.memory import predicted
from harness.schema.prediction import Prediction
from harness.schema.registry import load_plugin
from harness.schema.trial import Trial, content_hash
from harness.strategies import Unpredicted

OF_NO_ACCOUNT = {"cell", "id", "seed", "repeat", "timeout_s", "varied", "steps", "warmup_steps", "eval_every", "kind"}
"""Keys of a trial that change nothing about its memory."""


def answers(asked_json: str) -> list[dict[str, Any]]:
    """What a child is asked: trials, limit_bytes of a device or null, within_s; see `answers_of`."""
    torch.set_num_threads(1)  # small tensors: threads would only wait for one another
    asked = json.loads(asked_json)
    trials = [Trial.model_validate(content) for content in asked["trials"]]
    return [found.model_dump(mode="json") for found in answers_of(trials, asked["limit_bytes"], asked["within_s"])]


def answers_of(trials: Sequence[Trial], limit_bytes: int | None = None, within_s: float = math.inf) -> list[Prediction]:
    """What is predicted of each trial, in their order; what fails says why.

    limit_bytes: where a trial's micro-batch is to be found, it is the largest that is predicted to fit this; within_s:
    seconds after which no further cell is begun.
    """
    until, known = time.monotonic() + within_s, dict[str, Prediction]()
    for trial in trials:
        if (key := _key(trial)) not in known:
            late = time.monotonic() > until
            known[key] = (
                Prediction(absent="the time for predictions was over") if late else _fitting(trial, limit_bytes)
            )
    return [known[_key(trial)] for trial in trials]


def _key(trial: Trial) -> str:
    content = trial.model_dump(mode="json", exclude=OF_NO_ACCOUNT)
    content["recipe"].pop("lr", None)
    return content_hash(content)


def _fitting(trial: Trial, limit_bytes: int | None) -> Prediction:
    """Of a trial whose micro-batch is searched for: the largest that fits, or the least of all."""
    if not trial.among or trial.searched:
        return _answer(trial)
    found = Prediction()
    for size in sorted(trial.among, reverse=True):
        found = _answer(trial.with_micro_batch(size))
        if found.absent or limit_bytes is None or found.total <= limit_bytes:
            break
    return found


def _answer(trial: Trial) -> Prediction:
    try:
        for plugin in trial.plugins:
            load_plugin(Path(plugin.path))
        return Prediction(sizes=predicted(trial), micro_batch=trial.micro_batch)
    except Unpredicted as error:
        why = str(error)
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Prediction(absent=why[:300], micro_batch=trial.micro_batch)
