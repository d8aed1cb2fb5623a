"""A fake accelerator behind PyTorch's interfaces for devices, events, allocators and pinned memory; built here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from harness.machine.cache_folder import cache_folder

HERE = Path(__file__).parent
SOURCE, MODULE = HERE / "fake_accelerator.cpp", HERE / "fake_accelerator.py"
NEEDED = (2, 9)
"""PyTorch whose accelerators have allocators with statistics."""
PACKAGE = {
    "METADATA": "Metadata-Version: 2.1\nName: fake-accelerator\nVersion: 0\n",
    "entry_points.txt": "[torch.backends]\nfake = fake_accelerator:load\n",
}


def environment(devices: int = 2) -> dict[str, str]:
    """Variables under which every process that imports torch has fake accelerators. Skips where none can be built."""
    path = [str(built()), str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "FAKE_ACCELERATORS": str(devices), "CI": "1"}


def built() -> Path:
    """A folder with the accelerator as an installed package, compiled once per source and version of PyTorch."""
    version = torch.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < NEEDED:
        pytest.skip(f"the fake accelerator needs the headers of PyTorch {NEEDED[0]}.{NEEDED[1]}, this is {version}")
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler: the fake accelerator cannot be built")
    content = SOURCE.read_bytes() + MODULE.read_bytes() + version.encode()
    folder = cache_folder() / f"fake-accelerator-{hashlib.sha256(content).hexdigest()[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent))
        compile_to(part, compiler)
        try:
            part.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(part)
    return folder


def compile_to(folder: Path, compiler: str) -> None:
    """Compile the library into a folder and lay out the package beside it."""
    from torch.utils.cpp_extension import include_paths, library_paths

    command = [compiler, "-O1", "-std=c++20", "-fPIC", "-shared", str(SOURCE)]
    command += ["-o", str(folder / "libfake_accelerator.so")]
    command.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
    command += [f"-I{path}" for path in include_paths()] + [f"-L{path}" for path in library_paths()]
    done = subprocess.run([*command, "-ltorch_cpu", "-lc10"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copy(MODULE, folder)
    installed = folder / "fake_accelerator-0.dist-info"
    installed.mkdir()
    for name, text in PACKAGE.items():
        (installed / name).write_text(text)
