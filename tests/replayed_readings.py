"""Readings of accelerators that were made before, as a record keeps them: for tests on machines without any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from harness.machine.device_readings import READINGS, Identity, Nvml, Reading


class Replay(Nvml):
    """Readings that were made before: the next one of a device at each call. When they end, all is absent.

    recorded: of each device `device` (Identity) and `readings` in order, the form that a record keeps them in.
    """

    def __init__(self, recorded: Iterable[Mapping[str, Any]], driver: str | None = None):
        super().__init__(reason=None)
        self.driver = driver
        self._devices: list[Identity] = []
        self._left: dict[str, list[Reading]] = {}
        for each in recorded:
            device = Identity.model_validate(each["device"])
            self._devices.append(device)
            self._left[device.uuid] = [Reading.model_validate(reading) for reading in each["readings"]]

    def devices(self) -> list[Identity]:
        """The devices of the recording."""
        return list(self._devices)

    def read(self, device: Identity, wanted: Collection[str] = READINGS) -> Reading:
        """The device's next reading as it was, whenever it was; what is not wanted is left out."""
        left = self._left.get(device.uuid, [])
        if not left:
            return Reading(absent=dict.fromkeys(wanted, "the recording has ended"))
        reading = left.pop(0)
        return Reading(
            at_s=reading.at_s,
            absent={name: why for name, why in reading.absent.items() if name in wanted},
            **{name: getattr(reading, name) for name in READINGS if name in wanted},
        )
