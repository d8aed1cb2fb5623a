"""What a GPU tells of itself at one moment, and where that comes from: nowhere, or the driver (`nvml`)."""

from __future__ import annotations

import time
from collections.abc import Collection

from pydantic import BaseModel

from harness.machine.deadline import Unread


class Identity(BaseModel):
    """A GPU, or a MIG instance of one, as the driver names it."""

    index: int
    """NVML's index of the GPU, in the order of PCI addresses"""
    uuid: str
    name: str | None = None
    parent: str | None = None
    """uuid of the GPU that a MIG instance is part of"""
    instance: tuple[int, int] | None = None
    """MIG: ids of GPU instance and compute instance"""
    mig: bool = False
    """a GPU in MIG mode: CUDA sees its instances, not itself"""
    problem: str | None = None
    """why the driver tells nothing of it, e.g. GPU is lost"""

    @property
    def names(self) -> tuple[str, ...]:
        """All that CUDA may call it by: the uuid, and for a MIG instance the older MIG-GPU-uuid/instance/instance."""
        if self.parent is None or self.instance is None:
            return (self.uuid,)
        return (self.uuid, "MIG-{}/{}/{}".format(self.parent, *self.instance))


class Reading(BaseModel):
    """What a device tells at one moment; None: not asked, or absent for the reason in `absent`."""

    at_s: float = 0.0
    """time.perf_counter()"""
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilisation: float | None = None
    """share of the driver's last sample period (1/6 to 1 s) in which a kernel ran, 0 to 1"""
    power_w: float | None = None
    """of the board; on Ampere (not GA100) and later a mean over 1 s"""
    power_limit_w: float | None = None
    energy_j: float | None = None
    """counter of the board since the driver was loaded; Volta and later"""
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle: list[str] | None = None
    """why the clocks are below what is asked; empty: they are not held back"""
    temperature_c: int | None = None
    other_processes: list[int] | None = None
    """process ids with a compute context on the device that are not of this trial"""
    absent: dict[str, str] = {}
    """reading → why it is not there"""


READINGS = tuple(name for name in Reading.model_fields if name not in ("at_s", "absent"))
STATE = tuple(name for name in READINGS if name not in ("energy_j", "power_w", "power_limit_w"))
"""What explains a speed, without what is metered over time."""


class Nvml:
    """No NVML: a null object, and the interface of all three. Nothing raises but `value`."""

    def __init__(self, reason: str | None = "no NVML was opened"):
        self.reason = reason
        """why nothing can be read; None: something can"""
        self.driver: str | None = None
        """version of the driver"""

    def devices(self) -> list[Identity]:
        """All GPUs in NVML's order, each followed by its MIG instances."""
        return []

    def read(self, device: Identity, wanted: Collection[str] = READINGS) -> Reading:
        """Read what is wanted of a device, now."""
        reason = self.reason or device.problem or "no such device"
        return Reading(at_s=time.perf_counter(), absent=dict.fromkeys(wanted, reason))

    def value(self, device: Identity, name: str) -> tuple[float, float]:
        """A moment (time.perf_counter) and the number read then. Raises Unread with the reason."""
        reading = self.read(device, (name,))
        found = getattr(reading, name)
        if found is None:
            raise Unread(f"{device.name or device.uuid}: {reading.absent.get(name, 'not read')}")
        return reading.at_s, float(found)
