"""What a trained model makes (a sample of sound), kept beside the figures of its trial."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.measure.job import Job, artifacts_folder
from harness.measure.training import Training
from harness.schema.record import RankResult
from harness.strategies import compilation


def leave_artifacts(job: Job, training: Training, result: RankResult) -> None:
    """What the trained model makes, as files that the parent keeps; of each cell and seed once.

    Every rank makes them, since a sharded model needs all; rank 0's are told. What fails costs the files only.
    """
    make = training.workload.artifacts
    if make is None or job.trial.repeat > 0:
        return
    folder = artifacts_folder(Path(job.folder), job.rank)
    folder.mkdir(exist_ok=True)
    training.model.eval()
    try:
        with torch.no_grad(), compilation.uncompiled(), training.judged():
            made = make(training.model, folder)
        result.facts["artifacts"] = {what: path.name for what, path in made.items()}
    except Exception as error:
        result.facts.setdefault("absent", {})["artifacts"] = f"{type(error).__name__}: {error}"
