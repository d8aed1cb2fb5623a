"""NVML through the real pynvml and ctypes, against a library compiled here; deadlines; replay."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.machine.deadline import BoundedCalls, Unread
from harness.machine.device_readings import READINGS
from harness.machine.nvml import QUESTIONS, THROTTLE, other_processes, throttle_words
from tests.replayed_readings import Replay

SOURCE = Path(__file__).parent / "libnvidia_ml_stub.c"
GIB = 2**30


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stub."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the stub of libnvidia-ml.so.1 cannot be built")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(target), str(SOURCE)], check=True)
    return folder


FAKES = """
import json, os, sys, time
from types import SimpleNamespace
from harness.machine.deadline import Unread
from harness.machine.nvml import Driver, Nvml, open_nvml, QUESTIONS
from harness.machine.nvidia import driver_device
from harness.machine import meter
from harness.monitors.energy import Energy
from harness.monitors.device_state import DeviceState
from harness.schema.record import Phase, RankResult

def window(nvml, count=1, seconds=0.0):
    "What the monitors write for a window over so many devices."
    devices = [SimpleNamespace(kind="cuda", index=index, uuid=None) for index in range(count)]
    training = SimpleNamespace(devices=devices, device=devices[0], place=SimpleNamespace(rank=0))
    meter.CounterMeter.shortest_s = 0.0
    meter.PowerMeter.shortest_s = 0.0
    result = RankResult(rank=0, phase=Phase.TIMED)
    monitors = [Energy(lambda devices: meter.open_meters(devices, nvml)), DeviceState(lambda: nvml)]
    for hook in ("window_begins", "stretch_begins"):
        [getattr(each, hook)(training) for each in monitors]
    time.sleep(seconds)
    [each.stretch_ends(training) for each in monitors]
    [each.window_ends(training, result) for each in monitors]
    return {"metrics": result.metrics, "facts": result.facts}
"""


def told(library: Path, body: str, **environment: str) -> Any:
    """What a fresh process that loads the stub says: the value of `said`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "STUB_"))}
    script = f"{FAKES}\n{body}\nsys.stdout.write(json.dumps(said))\nsys.stdout.flush()\nos._exit(0)\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean | {"LD_LIBRARY_PATH": str(library), **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READ = (
    "nvml = open_nvml(); said = [nvml.reason, nvml.driver, [nvml.read(each).model_dump() for each in nvml.devices()]]"
)
ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
POWER = "nvmlDeviceGetPowerUsage"


# The driver's library


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_every_reading_of_every_device(library: Path, count: int) -> None:
    reason, driver, readings = told(library, READ, STUB_DEVICES=str(count), STUB_PIDS="0 4242 7")
    assert (reason, driver, len(readings)) == (None, "570.1", count)
    for index, reading in enumerate(readings):
        assert reading.pop("at_s") > 0
        assert reading == {
            "memory_used_bytes": GIB // 4,
            "memory_total_bytes": 8 * GIB,
            "utilisation": 0.75,
            "power_w": pytest.approx(300.5 + index / 1000),
            "power_limit_w": 700.0,
            "energy_j": pytest.approx(1000 * (index + 1) + 2.5),
            "sm_clock_mhz": 1980,
            "memory_clock_mhz": 3201,
            "throttle": ["software power cap", "hardware thermal slowdown"],
            "temperature_c": 61,
            "other_processes": [7, 4242],
            "absent": {},
        }


def test_no_library_and_no_driver_say_why(library: Path, tmp_path: Path) -> None:
    body = "nvml = open_nvml(); said = [nvml.reason, nvml.devices(), window(nvml)]"
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")  # found first, and no library
    for folder, rules, why in (
        (tmp_path, "", "NVML Shared Library Not Found"),
        (library, "nvmlInitWithFlags -1 1 9", "Driver Not Loaded"),
    ):
        reason, devices, found = told(folder, body, STUB_DEVICES="2", STUB_RULES=rules)
        assert (reason, devices) == (f"nvmlInit: {why}", [])
        assert found == {"metrics": {}, "facts": {"absent": {"energy": reason, "device": reason}}}


def test_a_missing_counter_is_absent_with_its_reason_and_costs_no_other(library: Path) -> None:
    rules = f"{ENERGY} 0 1 3; nvmlDeviceGetTemperature 0 1 3; nvmlDeviceGetComputeRunningProcesses_v3 -1 1 4"
    _reason, _driver, (first, second) = told(library, READ, STUB_DEVICES="2", STUB_RULES=rules)
    assert first["absent"] == {
        "energy_j": "energy_j: Not Supported",
        "temperature_c": "temperature_c: Not Supported",
        "other_processes": "other_processes: Insufficient Permissions",
    }
    assert [name for name in READINGS if first[name] is None] == list(first["absent"])
    assert list(second["absent"]) == ["other_processes"]


def test_without_a_counter_the_power_is_integrated(library: Path) -> None:
    body = "said = window(open_nvml(), seconds=0.35)"
    found = told(library, body, STUB_DEVICES="1", STUB_RULES=f"{ENERGY} -1 1 3")
    assert found["metrics"]["power_w"] == pytest.approx(300.5)
    assert found["metrics"]["energy_j"] == pytest.approx(300.5 * found["facts"]["energy"]["seconds"])
    assert found["facts"]["energy"]["seconds"] >= 0.35
    assert found["facts"]["energy"]["source"] == "the driver's power, every 0.1 s"
    neither = told(library, body, STUB_DEVICES="1", STUB_RULES=f"{ENERGY} -1 1 3; {POWER} -1 1 3")
    assert neither["metrics"] == {}
    assert neither["facts"]["absent"]["energy"] == (
        "Stub H200: energy_j: Not Supported; Stub H200: power_w: Not Supported"
    )


def test_the_counters_of_all_devices_are_summed(library: Path) -> None:
    found = told(library, "said = window(open_nvml(), count=2, seconds=0.01)", STUB_DEVICES="2")
    assert found["metrics"]["energy_j"] == pytest.approx(5.0)  # the stub counts 2.5 J at each reading of a device
    assert found["facts"]["energy"]["of"] == "device"
    assert [each["device"]["uuid"] for each in found["facts"]["device"]] == ["GPU-00000000-aaaa", "GPU-10000000-aaaa"]
    assert all(
        len(each["readings"]) == 2 and "energy_j" not in each["readings"][0] for each in found["facts"]["device"]
    )
    still = told(library, "said = window(open_nvml(), count=2)", STUB_DEVICES="2", STUB_STILL="1")
    assert still["metrics"] == {}, "control: a counter that stands still is no energy"
    assert "did not move" in still["facts"]["absent"]["energy"]


@pytest.mark.parametrize(("code", "words"), [(15, "GPU is lost"), (999, "Unknown Error"), (77, "stub error 77")])
def test_a_call_that_fails_in_the_window_costs_the_energy_alone(library: Path, code: int, words: str) -> None:
    # Of device 1: read once to see that there is a counter, once at the start, and the third time fails.
    found = told(library, "said = window(open_nvml(), count=2)", STUB_DEVICES="2", STUB_RULES=f"{ENERGY} 1 3 {code}")
    assert found["metrics"] == {}
    assert words in found["facts"]["absent"]["energy"]
    assert found["facts"]["absent"]["energy"].startswith("Stub H200: energy_j: ")
    assert len(found["facts"]["device"]) == 2


def test_a_lost_device_keeps_its_place_and_tells_nothing(library: Path) -> None:
    rules = "nvmlDeviceGetUUID 1 1 15"
    body = """
nvml = open_nvml()
lost = nvml.devices()[1]
said = [[each.uuid for each in nvml.devices()], lost.problem, nvml.read(lost, ("power_w", "throttle")).absent]
"""
    uuids, problem, absent = told(library, body, STUB_DEVICES="3", STUB_RULES=rules)
    assert uuids == ["GPU-00000000-aaaa", "GPU 1", "GPU-20000000-aaaa"]
    assert problem == "GPU is lost"
    assert absent == {"power_w": "GPU is lost", "throttle": "GPU is lost"}


@pytest.mark.parametrize("blocked", [f"{ENERGY} -1 3 -1", f"{ENERGY} -1 1 3; {POWER} -1 3 -1"])
def test_a_call_that_never_comes_back_costs_one_deadline(library: Path, blocked: str) -> None:
    body = """
nvml = Driver(deadline_s=0.6)
began = time.monotonic()
said = [window(nvml, seconds=0.25), time.monotonic() - began]
"""
    found, seconds = told(library, body, STUB_DEVICES="1", STUB_RULES=blocked)
    assert found["metrics"] == {}
    assert "no answer within 0.6 s" in found["facts"]["absent"]["energy"]
    start, end = found["facts"]["device"][0]["readings"]
    assert start["sm_clock_mhz"] == 1980
    assert "no answer within 0.6 s" in end["absent"]["sm_clock_mhz"]
    assert seconds < 4


def test_a_library_that_hangs_at_its_start_is_none(library: Path) -> None:
    body = """
try:
    Driver(start_deadline_s=0.2)
except Unread as why:
    said = str(why)
"""
    assert told(library, body, STUB_RULES="nvmlInitWithFlags -1 1 -1") == "nvmlInit: no answer within 0.2 s"


def test_a_mig_instance_has_its_own_memory_the_clocks_of_its_gpu_and_no_energy(library: Path) -> None:
    body = """
nvml = open_nvml()
said = [[each.model_dump() for each in nvml.devices()], nvml.read(nvml.devices()[2]).model_dump(), window(nvml)]
"""
    devices, reading, found = told(library, body, STUB_DEVICES="2", STUB_MIG="0")
    assert [each["uuid"] for each in devices] == [
        "GPU-00000000-aaaa", "MIG-00000000-bbbb", "MIG-01000000-bbbb", "GPU-10000000-aaaa"
    ]  # fmt: skip
    assert [each["mig"] for each in devices] == [True, False, False, False]
    assert (devices[2]["parent"], devices[2]["instance"]) == ("GPU-00000000-aaaa", [8, 0])
    assert (reading["memory_total_bytes"], reading["sm_clock_mhz"]) == (GIB, 1980)
    for name in ("energy_j", "power_w", "utilisation"):
        assert reading[name] is None
        assert "MIG instance" in reading["absent"][name]
    assert found["metrics"] == {}
    assert "MIG instance" in found["facts"]["absent"]["energy"]
    assert found["facts"]["device"][0]["device"]["uuid"] == "MIG-00000000-bbbb"


@pytest.mark.parametrize(
    ("setting", "uuids"),
    [
        ("1,0", ["GPU-10000000-aaaa", "GPU-00000000-aaaa"]),
        ("GPU-2,GPU-00000000-aaaa", ["GPU-20000000-aaaa", "GPU-00000000-aaaa"]),
        ("MIG-31", ["MIG-31000000-bbbb"]),
    ],
)
def test_cuda_devices_by_index_uuid_and_mig_id_are_the_drivers(library: Path, setting: str, uuids: list[str]) -> None:
    body = """
devices = [SimpleNamespace(kind="cuda", index=index, uuid=None) for index in range(int(os.environ["COUNT"]))]
said = [driver_device(open_nvml(), device).uuid for device in devices]
"""
    settings = {"CUDA_VISIBLE_DEVICES": setting, "COUNT": str(len(uuids)), "STUB_DEVICES": "4", "STUB_MIG": "3"}
    assert told(library, body, **settings) == uuids


# Small parts


def test_throttle_reasons_are_nvmls() -> None:
    import pynvml

    prefix = "nvmlClocksThrottleReason"
    bits = {getattr(pynvml, name) for name in dir(pynvml) if name.startswith(prefix)}
    bits -= {pynvml.nvmlClocksThrottleReasonAll, pynvml.nvmlClocksThrottleReasonNone, 0x1}
    assert bits <= THROTTLE.keys()
    assert throttle_words(pynvml.nvmlClocksThrottleReasonSwPowerCap | 0x1) == ["software power cap"]
    assert throttle_words(0) == []
    assert throttle_words(1 << 40) == ["reason 0x10000000000"]


def test_who_else_is_on_the_device() -> None:
    me = os.getpid()
    assert other_processes([me, 8, 7], {me, 8}, ids_are_ours=True) == [7]
    assert other_processes([7], {me}, ids_are_ours=True) == [7]
    assert other_processes([me, 7], {me}, ids_are_ours=False) == [7]
    with pytest.raises(Unread, match="this container"):
        other_processes([7], {me}, ids_are_ours=False)


def test_a_late_answer_costs_one_deadline_and_all_later_ones_nothing() -> None:
    calls, gate = BoundedCalls(5.0), threading.Event()
    assert calls.ask("one", lambda: 1) == 1
    with pytest.raises(Unread, match=r"two: .*by zero"):
        calls.ask("two", lambda: 1 / 0)
    with pytest.raises(Unread, match=r"three: no answer within 0\.05 s"):
        calls.ask("three", gate.wait, deadline_s=0.05)
    began = time.monotonic()
    with pytest.raises(Unread, match="three: no answer"):
        calls.ask("four", lambda: 4)
    assert time.monotonic() - began < 1
    gate.set()


def test_a_replay_repeats_what_a_record_holds() -> None:
    device = {"index": 0, "uuid": "GPU-aa00", "name": "H200"}
    recorded = [{"device": device, "readings": [{"at_s": 1.0, "power_w": 5.0, "temperature_c": 40}, {"at_s": 2.0}]}]
    replay = Replay(json.loads(json.dumps(recorded)))
    [only] = replay.devices()
    first = replay.read(only, ("power_w",))
    assert (first.at_s, first.power_w, first.temperature_c) == (1.0, 5.0, None)
    with pytest.raises(Unread, match="H200: not read"):
        replay.value(only, "power_w")
    assert replay.read(only, ("power_w",)).absent == {"power_w": "the recording has ended"}


def test_one_module_alone_uses_the_library() -> None:
    def users(name: str) -> set[str]:
        root = Path(harness.__file__).parent
        found = set()
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found |= {path.name} if name in names else set()
        return found

    assert users("pynvml") == {"nvml.py"}
    assert users("psutil") > {"nvml.py"}, "control: the search finds users"
    assert set(QUESTIONS) == set(READINGS)
