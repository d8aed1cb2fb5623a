"""Parts of a step (data wait, forward, backward, optimizer), from steps of their own: no timer is in the window."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from harness.monitors import Monitor, register

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult

PHASE_STEPS = 5
PARTS = ("data_wait", "forward", "backward", "forward_backward", "optimizer")


@register("phases", metrics=tuple(f"{part}_s" for part in PARTS))
class Phases(Monitor):
    """Seconds of each part of a step: median over 5 steps in which the device is waited for after each part.

    Waiting takes away the overlap between parts, so that their sum can be above `step_s` on an accelerator. Where a
    strategy runs forward and backward passes in turn or side by side, the two are one part, with the reason in
    `facts.absent`.
    """

    def after(self, training: Training, result: RankResult) -> None:
        """Train 5 steps with a clock between the parts."""
        steps: dict[str, list[float]] = defaultdict(list)
        for _ in range(PHASE_STEPS):
            training.barrier()
            for part, seconds in self._step(training).items():
                steps[part].append(seconds)
        result.metrics |= {f"{part}_s": statistics.median(steps[part]) for part in PARTS if part in steps}
        if training.wrapped.blended:
            result.facts.setdefault("absent", {})["forward_s"] = training.wrapped.blended

    def _step(self, training: Training) -> dict[str, float]:
        seconds: dict[str, float] = defaultdict(float)
        training.device.synchronize()
        last = time.perf_counter()

        def mark(part: str) -> None:
            nonlocal last
            training.device.synchronize()
            now = time.perf_counter()
            seconds[part] += now - last
            last = now

        training.step(mark=mark)
        return seconds
