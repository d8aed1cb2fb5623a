"""NVIDIA's devices as CUDA counts them: CUDA_VISIBLE_DEVICES hides some and reorders others, the driver knows them all.

Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables and
https://docs.nvidia.com/datacenter/tesla/mig-user-guide/mig-device-names.html#device-enumeration
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.machine.deadline import Unread
from harness.machine.device import Device, open_device
from harness.machine.device_readings import Identity, Nvml
from harness.machine.nvml import open_nvml


def facts() -> dict[str, Any]:
    """Driver version; of each device in torch's order: power limit in W, why its clock is throttled at the moment."""
    nvml = open_nvml()
    if nvml.reason is not None:
        return {}
    import torch

    watts, throttled = [], []
    for index in range(torch.cuda.device_count()):
        try:
            device = driver_device(nvml, open_device("cuda", index))
        except Unread:
            continue
        reading = nvml.read(device, ("power_limit_w", "throttle"))
        watts += [reading.power_limit_w] if reading.power_limit_w is not None else []
        throttled += [", ".join(reading.throttle) or "none"] if reading.throttle is not None else []
    return {"driver": nvml.driver, "accelerator_power_limit_w": watts, "accelerator_throttle": throttled}


def driver_device(nvml: Nvml, device: Device, environ: Mapping[str, str] = os.environ) -> Identity:
    """The driver's device that torch calls by this kind and index. Raises Unread with the reason where none is."""
    if device.kind != "cuda":
        raise Unread(f"NVML reads NVIDIA's devices, not {device.kind}")
    if nvml.reason is not None:
        raise Unread(nvml.reason)
    return identified(nvml.devices(), device.index, device.uuid, environ)


def identified(devices: Sequence[Identity], index: int, uuid: str | None, environ: Mapping[str, str]) -> Identity:
    """The device that CUDA calls by this index. uuid: what torch says of it, which settles the order of devices.

    CUDA tells of a MIG instance the uuid of the instance or of its GPU, with the version of the driver. Raises Unread.
    """
    seen = visible(devices, environ.get("CUDA_VISIBLE_DEVICES"))
    here = seen[index] if index < len(seen) else None
    if uuid is not None:
        if here and _bare(uuid) in (_bare(here.uuid), _bare(here.parent or "")):
            return here
        found = next((each for each in devices if _bare(each.uuid) == _bare(uuid) and not each.mig), None)
        if found is None:
            raise Unread(f"the driver names no device {uuid}")
        return found
    if here is None:
        raise Unread(f"device {index} is none of the {len(seen)} that CUDA_VISIBLE_DEVICES shows")
    if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({each.name for each in devices if not each.parent}) > 1:
        raise Unread("devices differ and CUDA_DEVICE_ORDER is not PCI_BUS_ID: which one is the first is CUDA's choice")
    return here


def visible(devices: Sequence[Identity], setting: str | None) -> list[Identity]:
    """The devices that CUDA shows under this CUDA_VISIBLE_DEVICES, in its order; None: it is not set.

    Entries are indices, or uuids or unique beginnings of them; the first that fits nothing ends the list, one that
    comes twice empties it. A GPU in MIG mode stands for its instances, of which CUDA shows one process the first only,
    and then no whole GPU.
    """
    gpus = [device for device in devices if device.parent is None]
    picked = gpus if setting is None else _picked(devices, gpus, setting)
    shown = [part for device in picked for part in (_instances(devices, device) if device.mig else [device])]
    return next(([device] for device in shown if device.parent is not None), shown)


def _picked(devices: Sequence[Identity], gpus: Sequence[Identity], setting: str) -> list[Identity]:
    prefix = next((prefix for prefix in ("GPU-", "MIG-") if setting.startswith(prefix)), None)
    picked: list[Identity] = []
    for entry in setting.split(","):
        found = _by_index(gpus, entry) if prefix is None else _by_name(devices, entry, prefix)
        if found is None:
            break
        if found in picked:
            return []
        picked.append(found)
    return picked


def _by_index(gpus: Sequence[Identity], entry: str) -> Identity | None:
    number = re.match(r"\s*\+?(\d+)", entry)
    index = int(number[1]) if number else len(gpus)
    return gpus[index] if index < len(gpus) else None


def _by_name(devices: Sequence[Identity], entry: str, prefix: str) -> Identity | None:
    if not entry.startswith(prefix):
        return None
    whole = [device for device in devices if entry in device.names]
    begun = [device for device in devices if any(name.startswith(entry) for name in device.names)]
    found = whole or begun
    return found[0] if len(found) == 1 else None


def _instances(devices: Sequence[Identity], gpu: Identity) -> list[Identity]:
    return [device for device in devices if device.parent == gpu.uuid]


def _bare(uuid: str) -> str:
    """The uuid without what the driver puts before it: torch leaves that away."""
    return uuid.lower().removeprefix("gpu-").removeprefix("mig-")
