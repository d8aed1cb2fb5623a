"""Which of the driver's devices CUDA shows, and in which order: CUDA_VISIBLE_DEVICES by index, uuid and MIG id."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine import nvidia
from harness.machine.deadline import Unread
from harness.machine.device import Accelerator, Device
from harness.machine.device_readings import Identity, Nvml
from harness.machine.nvidia import driver_device, identified, visible
from tests.replayed_readings import Replay


def gpu(index: int, uuid: str, **known: Any) -> Identity:
    """A GPU."""
    return Identity(index=index, uuid=uuid, name=known.pop("name", "H200"), **known)


PLAIN = [gpu(0, "GPU-aa00"), gpu(1, "GPU-ab00"), gpu(2, "GPU-bb00")]
SLICED = [
    gpu(0, "GPU-aa00"),
    gpu(1, "GPU-cc00", mig=True),
    gpu(1, "MIG-1100", parent="GPU-cc00", instance=(7, 0)),
    gpu(1, "MIG-1200", parent="GPU-cc00", instance=(8, 0)),
]


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        (" 1 , 2", [1, 2]),
        ("1gpu", [1]),
        ("0,-1,2", [0]),
        ("0,7,2", [0]),
        ("1,1", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("GPU-bb00,GPU-aa", [2, 0]),
        ("GPU-b", [2]),
        ("GPU-a", []),  # two begin like that
        ("GPU-bb,1", [2]),
        ("GPU-bb,GPU-bb00", []),
    ],
)
def test_what_cuda_shows(setting: str | None, indices: list[int]) -> None:
    assert [device.index for device in visible(PLAIN, setting)] == indices


@pytest.mark.parametrize(
    ("setting", "uuids"),
    [
        (None, ["MIG-1100"]),
        ("0", ["GPU-aa00"]),
        ("1", ["MIG-1100"]),
        ("0,1", ["MIG-1100"]),
        ("GPU-cc00", ["MIG-1100"]),
        ("MIG-12", ["MIG-1200"]),
        ("MIG-1", []),
        ("MIG-GPU-cc00/8/0", ["MIG-1200"]),
        ("MIG-1200,MIG-1100", ["MIG-1200"]),
    ],
)
def test_what_cuda_shows_of_instances(setting: str | None, uuids: list[str]) -> None:
    assert [device.uuid for device in visible(SLICED, setting)] == uuids


def test_what_torch_says_settles_the_order() -> None:
    assert identified(PLAIN, 0, "bb00", {}).uuid == "GPU-bb00"
    assert identified(PLAIN, 0, None, {}).uuid == "GPU-aa00"
    assert identified(SLICED, 0, "cc00", {"CUDA_VISIBLE_DEVICES": "MIG-1200"}).uuid == "MIG-1200"
    assert identified(SLICED, 0, "1200", {"CUDA_VISIBLE_DEVICES": "MIG-1200"}).uuid == "MIG-1200"
    with pytest.raises(Unread, match="names no device dd00"):
        identified(PLAIN, 0, "dd00", {})
    with pytest.raises(Unread, match="device 1 is none of the 1 that"):
        identified(PLAIN, 1, None, {"CUDA_VISIBLE_DEVICES": "2"})


def test_the_order_of_different_devices_is_cudas_own() -> None:
    different = [gpu(0, "GPU-aa00", name="L4"), gpu(1, "GPU-ab00", name="H200")]
    with pytest.raises(Unread, match="PCI_BUS_ID"):
        identified(different, 0, None, {})
    assert identified(different, 0, None, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).uuid == "GPU-aa00"
    assert identified(different, 0, "ab00", {}).uuid == "GPU-ab00"


def test_devices_of_others_are_not_asked_for() -> None:
    with pytest.raises(Unread, match="not cpu"):
        driver_device(Nvml(), Device())


def test_torch_tells_the_uuid_where_it_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    known = SimpleNamespace(get_device_properties=lambda index: SimpleNamespace(uuid=f"aa0{index}"))
    older = SimpleNamespace(get_device_properties=lambda index: SimpleNamespace())
    for module, uuid in ((known, "aa01"), (older, None), (SimpleNamespace(), None)):
        monkeypatch.setattr(torch, "get_device_module", lambda _kind, module=module: module)
        assert Accelerator("cuda", 1).uuid == uuid
    assert Device().uuid is None


def test_the_fingerprint_tells_of_the_devices_that_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    readings = {
        "GPU-aa00": {"power_limit_w": 700.0, "throttle": ["software power cap", "sync boost"]},
        "GPU-ab00": {"power_limit_w": 400.0, "throttle": []},
        "GPU-bb00": {"absent": {"power_limit_w": "Not Supported"}},
    }
    recorded = [{"device": device.model_dump(), "readings": [readings[device.uuid]]} for device in PLAIN]
    devices = [
        SimpleNamespace(kind="cuda", index=index, uuid=uuid) for index, uuid in enumerate(("ab00", "aa00", "zz"))
    ]
    monkeypatch.setattr(nvidia, "open_nvml", lambda: Replay(recorded, driver="570.1"))
    monkeypatch.setattr(nvidia, "open_device", lambda _kind, index: devices[index])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert nvidia.facts() == {
        "driver": "570.1",
        "accelerator_power_limit_w": [400.0, 700.0],
        "accelerator_throttle": ["none", "software power cap, sync boost"],
    }
    monkeypatch.setattr(nvidia, "open_nvml", lambda: Nvml("no driver"))
    assert nvidia.facts() == {}
