"""State of an NVIDIA device before and after the timed window: clocks, throttling, temperature, who else is on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.machine.deadline import Unread
from harness.machine.device_readings import STATE, Identity, Nvml, Reading
from harness.machine.nvidia import driver_device
from harness.machine.nvml import open_nvml
from harness.monitors import Monitor, register

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult


@register("device_state")
class DeviceState(Monitor):
    """`facts.device`: of each device this rank drives, its name and the readings at the start and end of the window.

    No figures of the trial: what explains them. Nothing on CPU and on devices of others than NVIDIA. What NVML does not
    tell stands with its reason in the reading; where it tells nothing at all, the reason is `facts.absent.device`.
    """

    def __init__(self, opened: Callable[[], Nvml] = open_nvml):
        self._open = opened
        self._nvml = Nvml()
        self._absent: str | None = None
        self._found: list[tuple[Identity, list[Reading]]] = []

    def window_begins(self, training: Training) -> None:
        """Find the devices and read them."""
        if training.device.kind != "cuda":
            return
        try:
            self._nvml = self._open()
            self._found = [(driver_device(self._nvml, device), []) for device in training.devices]
        except Exception as error:  # whatever it is, it may not cost the trial
            self._absent = str(error) if isinstance(error, Unread) else f"{type(error).__name__}: {error}"
        self._read_all()

    def window_ends(self, training: Training, result: RankResult) -> None:
        """Read them again, and write both."""
        self._read_all()
        if self._found:
            result.facts["device"] = [
                {
                    "device": device.model_dump(mode="json", exclude_defaults=True),
                    "readings": [reading.model_dump(mode="json", exclude_defaults=True) for reading in readings],
                }
                for device, readings in self._found
            ]
        if self._absent is not None:
            result.facts.setdefault("absent", {})["device"] = self._absent

    def _read_all(self) -> None:
        for device, readings in self._found:
            readings.append(self._nvml.read(device, STATE))
