"""How far a trial is, told by its first rank in a small file mapped into memory, for who may be looking.

Nobody is asked and nobody waits: in the timed window a step costs one look at the clock, and four times a second a
write to memory. A loss is told where it is on the host already; none is ever fetched from a device for this.

    sequence │ phase │ steps done │ steps of the window │ before it │ steps a second │ n │ n × (step, loss) │ sequence
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.schema.record import Phase

EVERY_S = 0.25
POINTS = 32
"""Most losses that are told: all, then every second, every fourth, …"""
LAYOUT = struct.Struct(f"<IIQQQdI{2 * POINTS}dI")
Loss = tuple[float, float]
"""A step and its loss."""
PHASES = tuple(Phase)
NAN = math.nan


@dataclass(frozen=True)
class Told:
    """What a rank told. steps: optimizer steps done, warm-up's among them; window: steps of the timed window, first:
    steps done before it (0 until it begins); steps_per_s: NaN until known; losses: from the first step to the last.
    """

    phase: Phase
    steps: int
    window: int
    first: int
    steps_per_s: float
    losses: tuple[Loss, ...]


class Progress:
    """Tells of one trial. Where the file cannot be made (a full disk), it tells nothing and nothing fails.

    window: steps of the timed window; read: what a step's loss is where that can be had without waiting, else NaN.
    """

    def __init__(self, path: Path, window: int, read: Callable[[Any], float] = lambda _loss: NAN):
        self._map, self._window, self.read = _mapped(path), window, read
        self._sequence = self._phase = self._steps = self._first = 0
        self._at = self._last = time.perf_counter()
        """when `_steps` were done, and when the last step was; pauses between stretches of steps are in neither"""
        self._rate = NAN
        self._losses: list[Loss] = []

    def begin(self, phase: Phase) -> None:
        """A phase begins."""
        self._phase, self._rate = PHASES.index(phase), NAN
        self._at = self._last = time.perf_counter()
        if phase is Phase.TIMED:
            self._first = self._steps
        self._tell()

    def go_on(self) -> None:
        """Steps follow, perhaps after a pause: an evaluation is no part of the speed."""
        now = time.perf_counter()
        self._at, self._last = self._at + now - self._last, now

    def step(self, steps: int, loss: Any) -> None:
        """So many steps are done; the loss of the last one. Most calls do nothing but look at the clock."""
        self._last = time.perf_counter()
        if self._last - self._at < EVERY_S:
            return
        self._count(steps)
        value = self.read(loss)
        if math.isfinite(value):
            self._losses = _thinned([*self._losses, (float(steps), value)])
        self._tell()

    def know(self, losses: Sequence[float | None]) -> None:
        """All losses until now, off the clock; they take the place of those that were told on the way."""
        self._count(len(losses))
        known = [(float(step), loss) for step, loss in enumerate(losses, 1) if loss is not None and math.isfinite(loss)]
        self._losses = known[:: max(1, math.ceil(len(known) / POINTS))]
        self._tell()

    def _count(self, steps: int) -> None:
        if steps > self._steps and self._last > self._at:
            self._rate = (steps - self._steps) / (self._last - self._at)
        self._at, self._steps = self._last, steps

    def _tell(self) -> None:
        if self._map is None:
            return
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        flat = [value for pair in self._losses for value in pair]
        LAYOUT.pack_into(
            self._map, 0, self._sequence, self._phase, self._steps, self._window, self._first, self._rate,
            len(self._losses), *flat, *[NAN] * (2 * POINTS - len(flat)), self._sequence,
        )  # fmt: skip


def _thinned(losses: list[Loss]) -> list[Loss]:
    """Every second one where there are more than can be told; the last one stays."""
    return losses if len(losses) <= POINTS else losses[::-2][::-1]


def _mapped(path: Path) -> mmap.mmap | None:
    """The file in memory. Its bytes are written first: a page without room on the disk would end the process later."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, bytes(LAYOUT.size)) == LAYOUT.size:
                return mmap.mmap(descriptor, LAYOUT.size)
        finally:
            os.close(descriptor)
    return None


def progress_path(folder: Path) -> Path:
    """Where a trial's first rank tells how far it is."""
    return folder / "progress"


def told(folder: Path) -> Told | None:
    """What the trial of this folder tells now; None before it has begun, after its folder is gone, and in the moment of
    a write.
    """
    try:
        values = LAYOUT.unpack(progress_path(folder).read_bytes())
    except (OSError, struct.error):
        return None
    sequence, phase, steps, window, first, rate, count, *flat, last = values
    if sequence != last or sequence == 0 or phase >= len(PHASES) or count > POINTS:
        return None
    return Told(
        PHASES[phase],
        steps,
        window,
        first,
        rate,
        tuple(zip(flat[: 2 * count : 2], flat[1 : 2 * count : 2], strict=True)),
    )
