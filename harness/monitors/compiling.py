"""Compiling (torch.compile): its seconds before the timed window, and whether any of it fell inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.monitors import Monitor, register
from harness.strategies import compilation

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult


@register("compiling", metrics=("compile_s",))
class Compiling(Monitor):
    """Seconds of compiling, by PyTorch's own clock of it; without torch.compile in the trial there are none.

    `facts.compile` holds what was compiled until the window opened, and how many frames and seconds of compiling fell
    into the timed steps: such a window tells no steady step times.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._counts: dict[str, int] = {}
        self._at_start: tuple[float, int] = (0.0, 0)
        self._inside: tuple[float, int] = (0.0, 0)

    def window_begins(self, training: Training) -> None:
        """Keep the seconds until here."""
        self._before = compilation.seconds()
        self._counts = compilation.counts()

    def stretch_begins(self, training: Training) -> None:
        """Steps are about to be timed."""
        self._at_start = self._now()

    def stretch_ends(self, training: Training) -> None:
        """Add what was compiled since; evaluations between stretches do not count."""
        (seconds, frames), (seconds_before, frames_before) = self._now(), self._at_start
        self._inside = (self._inside[0] + seconds - seconds_before, self._inside[1] + frames - frames_before)

    def window_ends(self, training: Training, result: RankResult) -> None:
        """Write both down."""
        if not self._before and not self._inside[0]:
            return
        result.metrics["compile_s"] = self._before
        seconds, frames = self._inside
        result.facts["compile"] = {**self._counts, "in_window_s": seconds, "in_window_frames": frames}

    def _now(self) -> tuple[float, int]:
        return compilation.seconds(), compilation.counts().get("compiled_frames", 0)
