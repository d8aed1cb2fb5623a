"""Meters of energy: start, stop, joules. One per device by the driver, or one for all CPU packages of the machine.

`shortest_s`: a reading is behind the truth by up to a tenth of this, so that a shorter stretch says nothing.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol

from harness.machine.deadline import Unread
from harness.machine.device import Device
from harness.machine.device_readings import Identity, Nvml
from harness.machine.nvidia import driver_device
from harness.machine.nvml import DEADLINE_S, open_nvml
from harness.machine.rapl import Rapl

SAMPLE_S = 0.1
"""Seconds between readings of power: drivers renew it every 0.02 to 0.1 s."""
ROUND_S = 60.0
"""Seconds between readings of the packages' counters, so that none goes round twice unseen."""


Of = Literal["device", "machine"]


class Meter(Protocol):
    """Energy between `start` and `stop`, both off the clock. Each raises Unread with the reason."""

    source: ClassVar[str]
    of: ClassVar[Of]
    """machine: all that runs on it is in the figure"""
    shortest_s: ClassVar[float]

    def start(self) -> None:
        """Begin to meter."""

    def stop(self) -> tuple[float, float]:
        """Joules since `start`, and the seconds that they are of."""


class CounterMeter:
    """The board's energy counter, which the driver renews every 0.1 s or oftener.

    Source: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html and on the rate of readings
    https://arxiv.org/abs/2312.02741
    """

    source: ClassVar[str] = "the driver's energy counter"
    of: ClassVar[Of] = "device"
    shortest_s: ClassVar[float] = 1.0

    def __init__(self, nvml: Nvml, device: Identity):
        self._nvml, self._device = nvml, device
        self._first = (0.0, 0.0)

    def start(self) -> None:
        """Read the counter."""
        self._first = self._nvml.value(self._device, "energy_j")

    def stop(self) -> tuple[float, float]:
        """Read it again. A counter that fell was set back in between: the driver was loaded anew."""
        (began, before), (ended, after) = self._first, self._nvml.value(self._device, "energy_j")
        if after < before:
            raise Unread(f"the energy counter fell from {before:g} to {after:g} J")
        return after - before, ended - began


class PowerMeter:
    """The board's power, sampled in a thread beside the steps and integrated by trapezoids.

    Since Ampere (GA100 left out) the driver tells the mean of the last second: half a second behind.
    """

    source: ClassVar[str] = f"the driver's power, every {SAMPLE_S:g} s"
    of: ClassVar[Of] = "device"
    shortest_s: ClassVar[float] = 5.0

    def __init__(self, nvml: Nvml, device: Identity, every_s: float = SAMPLE_S):
        self._nvml, self._device, self._every_s = nvml, device, every_s
        self._samples: list[tuple[float, float]] = []
        self._ticker = Ticker(every_s, self._sample)

    def start(self) -> None:
        """Read once, then go on in the thread."""
        self._samples.clear()
        self._ticker.start()

    def stop(self) -> tuple[float, float]:
        """Read for the last time and integrate."""
        self._ticker.stop()
        return integral(self._samples), self._samples[-1][0] - self._samples[0][0]

    def _sample(self) -> None:
        self._samples.append(self._nvml.value(self._device, "power_w"))


class PackageMeter:
    """The CPU's packages, all that runs on the machine included; the counters are renewed every 0.001 s."""

    source: ClassVar[str] = "RAPL, all CPU packages of the machine"
    of: ClassVar[Of] = "machine"
    shortest_s: ClassVar[float] = 0.01

    def __init__(self, rapl: Rapl, every_s: float = ROUND_S):
        self._rapl = rapl
        self._joules = self._began = self._ended = 0.0
        self._ticker = Ticker(every_s, self._count)

    def start(self) -> None:
        """Start the counters anew, and read them now and then."""
        self._rapl.start()
        self._began = time.perf_counter()
        self._ticker.start()

    def stop(self) -> tuple[float, float]:
        """Read them for the last time."""
        self._ticker.stop()
        return self._joules, self._ended - self._began

    def _count(self) -> None:
        self._joules, self._ended = self._rapl.total_j(), time.perf_counter()


class Ticker:
    """Calls `tick` at start, every so many seconds in a thread, and at stop. What `tick` raises, `stop` raises."""

    def __init__(self, every_s: float, tick: Callable[[], None]):
        self._every_s, self._tick = every_s, tick
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._wrong: Exception | None = None

    def start(self) -> None:
        """Tick, then go on in a thread."""
        self._wrong = None
        self._stopped.clear()
        self._tick()
        self._thread = threading.Thread(target=self._run, name="energy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, then tick for the last time. Raises what a tick raised, and Unread for one that hangs."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=DEADLINE_S + 1)
            if self._thread.is_alive():
                raise Unread("a reading is not back")
        if self._wrong is not None:
            raise self._wrong
        self._tick()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self._tick()
            except Exception as error:
                self._wrong = error
                return


def integral(samples: Sequence[tuple[float, float]]) -> float:
    """∫ power dt in J by trapezoids, of (s, W) in order of time. Raises Unread where all are 0 W: no board is."""
    if not any(watts for _at, watts in samples):
        raise Unread("the driver tells a power of 0 W")
    neighbours = itertools.pairwise(samples)
    return sum((after - before) * (first + last) / 2 for (before, first), (after, last) in neighbours)


def open_meters(devices: Sequence[Device], nvml: Nvml | None = None) -> list[Meter]:
    """The meters of a rank's devices: one each, or on CPU that of the whole machine. Raises Unread."""
    if all(device.kind == "cpu" for device in devices):
        return [PackageMeter(Rapl())]
    opened = nvml or open_nvml()
    return [driver_meter(opened, driver_device(opened, device)) for device in devices]


def driver_meter(nvml: Nvml, device: Identity) -> Meter:
    """The energy counter where the device has one, else its power. Raises Unread with the reasons of both."""
    try:
        nvml.value(device, "energy_j")
    except Unread as no_counter:
        try:
            nvml.value(device, "power_w")
        except Unread as no_power:
            raise Unread(f"{no_counter}; {no_power}") from None
        return PowerMeter(nvml, device)
    return CounterMeter(nvml, device)
