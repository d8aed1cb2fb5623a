"""Energy of the timed window: read off the clock at both ends of each stretch; absent with the reason, never 0."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.machine.deadline import Unread
from harness.machine.meter import Meter, open_meters
from harness.monitors import Monitor, register

if TYPE_CHECKING:
    from harness.machine.device import Device
    from harness.measure.training import Training
    from harness.schema.record import RankResult


@register("energy", metrics=("energy_j", "power_w"))
class Energy(Monitor):
    """Joules and mean watts of this rank's devices; on CPU rank 0 reads the packages of the whole machine for all.

    `facts.energy` tells the source, of what it is, and the seconds and stretches it was read over. Whatever fails costs
    these figures only, and is `facts.absent.energy`.
    """

    def __init__(self, opened: Callable[[Sequence[Device]], Sequence[Meter]] = open_meters):
        self._open = opened
        self._meters: Sequence[Meter] = []
        self._absent: str | None = None
        self._read: list[list[tuple[float, float]]] = []
        """of each stretch, of each meter: J, s"""

    def window_begins(self, training: Training) -> None:
        """Find the meters."""
        devices = training.devices
        if devices[0].kind == "cpu" and training.place.rank > 0:
            return
        with self._watched():
            self._meters = self._open(devices)

    def stretch_begins(self, training: Training) -> None:
        """Start them."""
        with self._watched():
            for meter in self._meters:
                meter.start()

    def stretch_ends(self, training: Training) -> None:
        """Stop them."""
        with self._watched():
            self._read.append([meter.stop() for meter in self._meters])

    def window_ends(self, training: Training, result: RankResult) -> None:
        """Write the sum, or why there is none."""
        with self._watched():
            if self._meters:
                self._write(result)
        if self._absent is not None:
            result.facts.setdefault("absent", {})["energy"] = self._absent

    def _write(self, result: RankResult) -> None:
        per_meter = [totals(stretches) for stretches in zip(*self._read, strict=True)]
        for meter, (joules, seconds) in zip(self._meters, per_meter, strict=True):
            believable(joules, seconds, meter.shortest_s * len(self._read))
        result.metrics["energy_j"] = sum(joules for joules, _seconds in per_meter)
        result.metrics["power_w"] = sum(joules / seconds for joules, seconds in per_meter)
        result.facts["energy"] = {
            "source": "; ".join(dict.fromkeys(meter.source for meter in self._meters)),
            "of": self._meters[0].of,
            "seconds": max(seconds for _joules, seconds in per_meter),
            "stretches": len(self._read),
        }

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Nothing that goes wrong in here reaches the trial; after it nothing is metered any more."""
        try:
            yield
        except Exception as error:
            self._absent = str(error) if isinstance(error, Unread) else f"{type(error).__name__}: {error}"
            for meter in self._meters:
                with contextlib.suppress(Exception):
                    meter.stop()
            self._meters = []


def totals(stretches: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Joules and seconds of all stretches together."""
    return sum(joules for joules, _seconds in stretches), sum(seconds for _joules, seconds in stretches)


def believable(joules: float, seconds: float, shortest_s: float) -> None:
    """Raises Unread for a window too short for its meter, and for a meter that stood still: no device draws nothing."""
    if seconds < shortest_s:
        raise Unread(f"metered for {seconds:.3g} s, less than the {shortest_s:g} s from which a figure is within 10 %")
    if joules <= 0:
        raise Unread(f"the energy counter did not move in {seconds:.3g} s")
