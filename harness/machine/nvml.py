"""NVML, the library of NVIDIA's driver: the only user of `pynvml`. Each reading is there, or absent with its reason.

Source: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from harness.machine.deadline import BoundedCalls, Unread
from harness.machine.device_readings import READINGS, Identity, Nvml, Reading

DEADLINE_S = 2.0
"""Seconds that a reading may take: it takes milliseconds, or the driver hangs."""
START_DEADLINE_S = 10.0
"""Seconds that loading and listing may take: without persistence mode the driver wakes every device first."""
HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of Linux's first PID namespace, the one whose process ids the driver tells."""
THROTTLE = {
    0x2: "application clock setting",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability voltage limit",
}
"""Bit of NVML's clock event reasons → words. Left out: 0x1, idle, which holds no work back."""
IDLE = 0x1


class Driver(Nvml):
    """The driver's own library. A call that fails costs its reading; one that hangs costs all later ones as well.

    Raises Unread where the library is missing or does not start.
    """

    def __init__(self, deadline_s: float = DEADLINE_S, start_deadline_s: float = START_DEADLINE_S):
        super().__init__(reason=None)
        self._calls = BoundedCalls(deadline_s)
        self._handles: dict[str, Any] = {}
        self._nvml = self._calls.ask("nvmlInit", _started, start_deadline_s)
        self._devices = self._calls.ask("NVML's list of devices", self._list, start_deadline_s)
        try:
            self.driver = str(self._calls.ask("driver version", self._nvml.nvmlSystemGetDriverVersion))
        except Unread:
            self.driver = None

    def devices(self) -> list[Identity]:
        """All GPUs as they were when the library was opened, each followed by its MIG instances."""
        return list(self._devices)

    def read(self, device: Identity, wanted: Collection[str] = READINGS) -> Reading:
        """Ask the driver; each reading may be absent on its own."""
        if device.problem is not None or device.uuid not in self._handles:
            return super().read(device, wanted)
        reading = Reading(at_s=time.perf_counter())
        for name in wanted:
            try:
                setattr(reading, name, self._one(device, name))
            except Unread as why:
                reading.absent[name] = str(why)
        return reading

    def _one(self, device: Identity, name: str) -> Any:
        if device.parent is not None and name in OF_WHOLE_GPU_ONLY:
            raise Unread("a MIG instance: the driver tells it of the whole GPU only, which others share")
        handle = self._handles[device.parent if device.parent and name in OF_GPU else device.uuid]
        return self._calls.ask(name, lambda: QUESTIONS[name](self._nvml, handle))

    def _list(self) -> list[Identity]:
        found = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                gpu = Identity(index=index, uuid=self._nvml.nvmlDeviceGetUUID(handle))
            except self._nvml.NVMLError as error:
                # It keeps its place in the list: the indices after it are counted with it.
                found.append(Identity(index=index, uuid=f"GPU {index}", problem=str(error)))
                continue
            gpu.name = self._or_none(self._nvml.nvmlDeviceGetName, handle)
            mode = self._or_none(self._nvml.nvmlDeviceGetMigMode, handle)
            gpu.mig = mode is not None and mode[0] == 1
            self._handles[gpu.uuid] = handle
            found += [gpu, *(self._instances(gpu, handle) if gpu.mig else [])]
        return found

    def _instances(self, gpu: Identity, handle: Any) -> list[Identity]:
        found = []
        for number in range(self._nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            part = self._or_none(self._nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            if part is None:
                continue  # fewer instances than there could be
            ids = self._nvml.nvmlDeviceGetGpuInstanceId(part), self._nvml.nvmlDeviceGetComputeInstanceId(part)
            name = self._or_none(self._nvml.nvmlDeviceGetName, part)
            uuid = self._nvml.nvmlDeviceGetUUID(part)
            self._handles[uuid] = part
            found.append(Identity(index=gpu.index, uuid=uuid, name=name, parent=gpu.uuid, instance=ids))
        return found

    def _or_none(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None


@functools.cache
def open_nvml() -> Nvml:
    """The driver's library, or a null object that says why there is none. Opened once in a process; never raises."""
    try:
        return Driver()
    except Unread as why:
        return Nvml(str(why))


def _started() -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def throttle_words(bits: int) -> list[str]:
    """The reasons in NVML's bit set, in words; a bit that is newer than this table by its number."""
    left = bits & ~IDLE
    known = [words for bit, words in THROTTLE.items() if left & bit]
    for bit in THROTTLE:
        left &= ~bit
    return known + ([f"reason {left:#x}"] if left else [])


def other_processes(pids: Sequence[int], own: Collection[int], ids_are_ours: bool) -> list[int]:
    """Processes on a device that are not ours. ids_are_ours: the driver counts processes as this process does.

    Raises Unread in a container whose process ids the driver does not know: others cannot be told from ourselves.
    """
    if not ids_are_ours and os.getpid() not in pids:
        raise Unread("the driver's process ids are not those of this container")
    return sorted(set(pids) - set(own))


def _others(nvml: Any, handle: Any) -> list[int]:
    import psutil

    pids = [each.pid for each in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    # The other ranks of the trial are children of the process that started this one.
    parent = psutil.Process(os.getppid()) if os.getppid() else None
    siblings = {child.pid for child in parent.children()} if parent else set()
    try:
        first = Path("/proc/self/ns/pid").stat().st_ino == HOST_PID_NAMESPACE
    except OSError:
        first = os.name == "nt"
    return other_processes(pids, {os.getpid(), *siblings}, first)


QUESTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "memory_used_bytes": lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).used,
    "memory_total_bytes": lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).total,
    "utilisation": lambda nvml, handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
    "power_w": lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    "power_limit_w": lambda nvml, handle: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
    "energy_j": lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,
    "sm_clock_mhz": lambda nvml, handle: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda nvml, handle: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
    "throttle": lambda nvml, handle: throttle_words(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
    "temperature_c": lambda nvml, handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    "other_processes": _others,
}
"""Reading → how the driver is asked for it."""
OF_GPU = frozenset({"sm_clock_mhz", "memory_clock_mhz", "throttle", "temperature_c"})
"""Read of the whole GPU where the device is a MIG instance: they hold for all parts of it."""
OF_WHOLE_GPU_ONLY = frozenset({"energy_j", "power_w", "power_limit_w", "utilisation"})
"""Of no meaning for a MIG instance."""
