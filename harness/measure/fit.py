"""Does a micro-batch fit? The trial as far as its memory goes: built, a few steps, one evaluation, nothing timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.measure.evaluation import evaluate
from harness.measure.loop import run_laps
from harness.monitors.memory import tracked_peak
from harness.schema.record import Phase

if TYPE_CHECKING:
    from harness.measure.session import Session
    from harness.measure.training import Training

FIT_STEPS = 3
"""The first step makes the optimizer's state, the second is the first with all of it; one more for what grows late."""


def fit(session: Session, training: Training) -> None:
    """Train and evaluate as the trial would; whether it fits is seen by whether this ends. Keeps the peak of tensors.

    The gradient norm is taken as in the first steps of a trial. On CPU the peak is counted afterwards, without limit:
    counting takes memory of its own.
    """
    training.wants_grad_norm = True
    device, result = training.device, session.result
    device.reset_peaks()
    try:
        with session.phase(Phase.WARMUP):
            run_laps(training, FIT_STEPS)
        if training.trial.eval_every != 0:
            evaluate(training)
    finally:
        result.metrics |= device.peaks()
    device.lift_memory_limit()
    if device.kind == "cpu" and not training.wrapped.untracked:
        with session.phase(Phase.EXTRA):
            result.metrics |= tracked_peak(training)
