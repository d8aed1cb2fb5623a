"""The fingerprint says what is there, the machine key changes with what decides speed and with nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.machine import control_group, environment
from harness.machine.environment import MOMENTARY, deciding, differences, fingerprint, machine_key
from harness.machine.inventory import Inventory
from harness.machine.probe import accelerators, probe, refused_precisions, slow_precisions

GIB = 2**30
LAB: dict[str, Any] = {
    "host": "lab",
    "os": "Debian",
    "cpu_model": "Example CPU",
    "cpu_capability": "AVX512",
    "cores": [0, 1],
    "memory_bytes": 16 * GIB,
    "torch": "2.13.0",
    "cuda": "13.0",
    "driver": "580.1",
    "governor": "performance",
    "accelerator": "cuda",
    "accelerator_names": ["H", "H"],
    "accelerator_memory_bytes": [80 * GIB, 80 * GIB],
    "load_average": [0.1, 0.2, 0.3],
    "clock_mhz": 2500,
    "git_commit": "abc",
    "git_dirty": False,
    "libraries": {"numpy": "2.0"},
    "variables": {"OMP_NUM_THREADS": "1"},
}


def test_the_fingerprint_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("UNRELATED_SECRET", "hush")
    found = fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["cores"] == sorted(os.sched_getaffinity(0))
    assert found["memory_bytes"] > 2**28
    assert found["cpu_model"]
    assert found["libraries"]["pydantic"]
    assert found["variables"]["NCCL_DEBUG"] == "INFO"
    assert "hush" not in json.dumps(found)
    assert len(found["load_average"]) == 3


def test_what_cannot_be_read_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise OSError("not here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment.os, "getloadavg", refuse)
    monkeypatch.setattr(environment, "_text", lambda _path: None)
    monkeypatch.setattr(environment.subprocess, "run", refuse)
    found = fingerprint()
    assert not {"load_average", "governor", "git_commit", "git_dirty", "harness_commit"} & found.keys()
    assert None not in found.values()
    assert machine_key(found)


def test_commit_and_changes_of_the_folder_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    monkeypatch.chdir(tmp_path)
    clean = fingerprint()
    assert (len(clean["git_commit"]), clean["git_dirty"]) == (40, False)
    (tmp_path / "code.py").write_text("a = 2\n")
    assert fingerprint()["git_dirty"] is True
    inside = tmp_path / "venv"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert "git_commit" not in fingerprint(), "nothing of this folder is in the repository around it"


@pytest.mark.parametrize(
    "change",
    [
        {"host": "other"},
        {"load_average": [9.0, 9.0, 9.0]},
        {"clock_mhz": 3600},
        {"git_commit": "def", "git_dirty": True},
        {"libraries": {"numpy": "3.0"}},
        {"cores": [2, 3]},
        {"memory_bytes": 16 * GIB - 5_000_000},
    ],
)
def test_the_key_stays_where_speed_does(change: dict[str, Any]) -> None:
    assert machine_key(LAB | change) == machine_key(LAB)


@pytest.mark.parametrize(
    "change",
    [
        {"cores": [0, 1, 2]},
        {"cpu_model": "Other CPU"},
        {"cpu_capability": "AVX2"},
        {"cpu_quota_cores": 1.5},
        {"memory_bytes": 32 * GIB},
        {"memory_limit_bytes": 4 * GIB},
        {"torch": "2.14.0"},
        {"driver": "581.0"},
        {"governor": "powersave"},
        {"accelerator_names": ["H"]},
        {"accelerator_memory_bytes": [40 * GIB, 80 * GIB]},
    ],
)
def test_the_key_changes_with_what_decides_speed(change: dict[str, Any]) -> None:
    assert machine_key(LAB | change) != machine_key(LAB)


def test_the_key_outlives_a_round_trip_through_json() -> None:
    assert machine_key(json.loads(json.dumps(LAB))) == machine_key(LAB)
    assert len(machine_key({})) == 12


def test_differences_in_words_what_decides_speed_first() -> None:
    other = LAB | {"host": "den", "torch": "2.14.0", "load_average": [7.0], "variables": {}, "memory_bytes": 8 * GIB}
    del other["driver"]
    assert differences(LAB, other) == [
        "driver: 580.1 against absent (decides speed)",
        "torch: 2.13.0 against 2.14.0 (decides speed)",
        "memory gib: 16 against 8 (decides speed)",
        "host: lab against den",
        "variables OMP NUM THREADS: 1 against absent",
    ]
    assert differences(LAB, LAB) == []
    assert not MOMENTARY & deciding(LAB).keys()


# Control groups


@pytest.mark.parametrize(
    ("membership", "files", "quota", "memory"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "a/memory.max": "1024"}, 1.5, 1024),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5, None),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        (
            "4:memory:/m\n2:cpu,cpuacct:/c\n0::/\n",
            {
                "cpu,cpuacct/c/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "memory/m/memory.limit_in_bytes": "2048",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            2.0,
            2048,
        ),
        ("2:cpu:/c\n", {"cpu/c/cpu.cfs_quota_us": "-1", "cpu/c/cpu.cfs_period_us": "100000"}, None, None),
        ("", {}, None, None),
    ],
)
def test_the_tightest_limit_around_the_process_counts(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None, memory: float | None
) -> None:
    (tmp_path / "cgroup").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert control_group.cpu_quota(tmp_path / "fs", tmp_path / "cgroup") == quota
    assert control_group.memory_limit(tmp_path / "fs", tmp_path / "cgroup") == memory
    assert control_group.cpu_quota(tmp_path / "fs", tmp_path / "missing") is None


# Probing


def test_the_inventory_of_this_machine() -> None:
    found = probe()
    assert Inventory.model_validate_json(found.model_dump_json()) == found
    assert found.cores == sorted(os.sched_getaffinity(0))
    assert found.machine_key == machine_key(found.environment)
    assert found.kind("auto") == (found.accelerator or "cpu")
    assert found.count(found.kind("auto")) >= 1


def test_the_affinity_of_the_process_is_what_counts() -> None:
    """Control: a process pinned to one core reports one core."""
    script = "import os; os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[0]]); " \
        "from harness.machine.environment import cores; print(len(cores()))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_precisions_are_emulated_without_their_instructions() -> None:
    assert slow_precisions("x86_64", {"avx512_bf16", "avx512_f"}) == {
        "fp16": "emulated: this CPU has none of avx512_fp16, amx_fp16"
    }
    assert slow_precisions("x86_64", {"amx_bf16", "amx_fp16"}) == {}
    assert set(slow_precisions("x86_64", set())) == {"fp16", "bf16", "bf16_weights"}
    assert slow_precisions("aarch64", set()) == {}


def test_a_precision_torch_refuses_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert refused_precisions("cpu") == {}

    class Refusing:
        def __init__(self, _kind: str, dtype: torch.dtype):
            if dtype is torch.bfloat16:
                raise RuntimeError("Current device\ndoes not support bfloat16")

        def __enter__(self) -> None: ...

        def __exit__(self, *_error: object) -> None: ...

    monkeypatch.setattr(torch, "autocast", Refusing)
    assert refused_precisions("cpu") == {
        "bf16": "Current device does not support bfloat16",
        "fp16": "autocast gives torch.float32",
    }


def test_accelerators_are_described_in_torchs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Properties:
        def __init__(self, name: str):
            self.name, self.total_memory = name, 7 * GIB

    class Module:
        @staticmethod
        def get_device_properties(index: int) -> Properties:
            return Properties(f"card {index}")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("xpu"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "get_device_module", lambda _kind: Module)
    assert accelerators() == ("xpu", ["card 0", "card 1"], [7 * GIB, 7 * GIB])


@pytest.mark.gpu
def test_an_accelerator_is_seen_with_its_driver() -> None:
    found = probe()
    if found.accelerator is None:
        pytest.skip("no accelerator")
    assert len(found.accelerator_names) == len(found.accelerator_memory_bytes) == found.count(found.accelerator)
    if found.accelerator == "cuda":
        assert found.environment["driver"]
        assert len(found.environment["accelerator_power_limit_w"]) == len(found.accelerator_names)
        assert found.environment["nccl"]
