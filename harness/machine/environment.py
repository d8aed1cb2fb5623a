"""The environment's fingerprint: everything of this machine that may decide speed or explain a number.

What cannot be read is absent, never 0. It is filled in by a child process, because it asks torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.machine import control_group, nvidia

Fingerprint = dict[str, Any]

LIBRARIES = ("numpy", "scipy", "pandas", "pydantic", "scikit-learn", "psutil", "nvidia-ml-py", "pyarrow", "triton")
ENGINES = ("horovod", "deepspeed")
VARIABLES = ("NCCL_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "GLOO_", "KMP_", "CUBLAS_", "GOMP_", "CUDA_", "HOROVOD_")
MOMENTARY = frozenset({"load_average", "clock_mhz", "accelerator_throttle"})
"""Read at one moment: kept to explain a number, never part of what a machine is."""
GIB = 2**30
ALIKE = ("accelerator", "accelerator_names", "driver", "cuda", "cpu_model", "cpu_capability", "cpu_quota_cores")
DECIDING = frozenset({*ALIKE, "torch", "governor", "core_count", "memory_gib", "accelerator_memory_gib"})
"""All that `deciding` may hold."""


def fingerprint() -> Fingerprint:
    """Read the environment of this process: host, CPU, memory, accelerators, libraries, variables, versions of code.

    Bytes, MHz and W are in the names; cores: ids that this process may use; cpu_quota_cores: cores' worth of CPU time
    that the control group allows; load_average: over 1, 5 and 15 minutes.
    """
    import harness

    found = {
        "host": socket.gethostname(),
        "os": _distribution() or platform.system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        **_processor(),
        **_memory(),
        **_torch(),
        **nvidia.facts(),
        "libraries": {name: version for name in (*LIBRARIES, *ENGINES) if (version := _version(name))},
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
        **_commit("git", Path.cwd()),
        **_commit("harness", Path(harness.__file__).parent),
        "harness_version": harness.__version__,
        "load_average": _tried(lambda: [round(load, 2) for load in os.getloadavg()]),
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def machine_key(found: Mapping[str, Any]) -> str:
    """Hash over what decides speed: figures of different keys are never compared silently.

    Devices and their driver, CPU model and instruction set, number of cores and CPU quota, memory in GiB, torch and
    its CUDA, frequency governor. Not the host's name, load, clock at the moment, or commit.
    """
    content = json.dumps(deciding(found), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def deciding(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that decides speed, rounded where it is noisy."""
    part = {key: found[key] for key in (*ALIKE, "torch", "governor") if key in found}
    if "cores" in found:
        part["core_count"] = len(found["cores"])
    sizes = [found[key] for key in ("memory_bytes", "memory_limit_bytes") if key in found]
    if sizes:
        part["memory_gib"] = round(min(sizes) / GIB)
    if "accelerator_memory_bytes" in found:
        part["accelerator_memory_gib"] = [round(size / GIB) for size in found["accelerator_memory_bytes"]]
    return part


def other_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What of two deciding parts is known of both and differs, in words: `cpu model: X against Y`."""
    known = [key for key in a if key in DECIDING and key in b]
    return _compared({key: a[key] for key in known}, {key: b[key] for key in known})


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, in words: first what decides speed; momentary values are left out."""
    first, second = deciding(a), deciding(b)
    decisive = _compared(first, second)
    known = {*first, *second, "cores", "memory_bytes", "memory_limit_bytes", "accelerator_memory_bytes"}
    rest = _compared(*({k: v for k, v in _flat(each).items() if k not in known} for each in (a, b)))
    return [f"{text} (decides speed)" for text in decisive] + rest


def _compared(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    keys = [key for key in dict.fromkeys([*a, *b]) if key not in MOMENTARY and a.get(key) != b.get(key)]
    return [f"{key.replace('_', ' ')}: {_said(a, key)} against {_said(b, key)}" for key in keys]


def _said(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key, "absent")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in found.items():
        flat |= {f"{key} {name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _tried(read: Callable[[], Any]) -> Any:
    """What is read, or None where this system does not tell."""
    try:
        return read()
    except (OSError, ValueError, LookupError, AttributeError, RuntimeError):
        return None


def _text(path: str | Path) -> str | None:
    return _tried(lambda: Path(path).read_text().strip())  # type: ignore[no-any-return]


def _distribution() -> str | None:
    return _tried(lambda: platform.freedesktop_os_release()["PRETTY_NAME"])  # type: ignore[no-any-return]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cores() -> list[int]:
    """Ids of the cores that this process may use; all of the machine's where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _processor() -> Fingerprint:
    import psutil

    mine = cores()
    info = _cpuinfo()
    governors = {_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor") for core in mine} - {None}
    frequency = _tried(psutil.cpu_freq)
    return {
        "cpu_model": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": sorted(info.get("flags", info.get("Features", "")).split()),
        "architecture": platform.machine(),
        "cores": mine,
        "cores_of_machine": os.cpu_count(),
        "physical_cores": psutil.cpu_count(logical=False),
        "cpu_quota_cores": control_group.cpu_quota(),
        "governor": ", ".join(sorted(text for text in governors if text)),
        "clock_mhz": round(frequency.current) if frequency else None,
    }


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    pairs = (line.partition(":") for line in (_text("/proc/cpuinfo") or "").split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _colon, value in pairs}


def _memory() -> Fingerprint:
    import psutil

    total, limit = psutil.virtual_memory().total, control_group.memory_limit()
    return {"memory_bytes": total, "memory_limit_bytes": int(limit) if limit is not None and limit < total else None}


def _torch() -> Fingerprint:
    """Versions of torch and of what it communicates and computes with."""
    import torch
    import torch.distributed as dist

    communicates = dist.is_available()
    return {
        "torch": str(torch.__version__),
        "torch_commit": torch.version.git_version[:10] if torch.version.git_version else None,
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
        "cudnn": _tried(torch.backends.cudnn.version),
        "nccl": _nccl() if communicates and dist.is_nccl_available() else None,
        "gloo": "part of torch" if communicates and dist.is_gloo_available() else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
    }


def _nccl() -> str | None:
    import torch

    return _tried(lambda: ".".join(str(part) for part in torch.cuda.nccl.version()))  # type: ignore[no-any-return,no-untyped-call]


def _commit(name: str, folder: Path) -> Fingerprint:
    """Commit and state of the working tree around a folder; nothing where it is part of no repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit or not _git(folder, "ls-files", "."):
        return {}  # a package installed into some other repository's folder is not of that repository
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {f"{name}_commit": commit, f"{name}_dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
