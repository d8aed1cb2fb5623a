"""The contract of devices on the CPU, and on a fake accelerator that stands behind PyTorch's real interfaces.

The fake is compiled here (tests/fake_accelerator) and loaded by PyTorch itself in one process of its own, since a
process has one kind of accelerator only. There the tests of tests/gpu run as they do on real hardware: devices, plan,
ranks, DDP and FSDP over two devices.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.machine.device import Device, open_device
from tests import fake_accelerator
from tests.device_contract import DeviceContract

TESTS = Path(__file__).parent
ROOT = TESTS.parent
GPU = TESTS / "gpu"
FAKE_ALONE = TESTS / "fake_accelerator" / "fake_checks.py"
CONTRACT = [name for name in dir(DeviceContract) if name.startswith("test_")]
STAMPS = "test_stamps_have_seconds_between_them_once_the_device_is_idle"
CELL = "test_cell_passes_parity_or_says_why_it_cannot_run"
CELLS = {
    "fp32": ("single", "dp", "ddp", "ddp_views", "ddp_bf16_gradients", "zero1", "fsdp", "fsdp_zero2", "fsdp_offload"),
    "bf16": ("ddp", "fsdp"),
    "fp16": ("single", "fsdp"),
}
"""Those whose collectives and operations the fake has; real accelerators run all that is registered."""
NAMES = [f"{CELL}[{strategy}-{precision}]" for precision, strategies in CELLS.items() for strategy in strategies]


class TestCpu(DeviceContract):
    @pytest.fixture
    def device(self) -> Device:
        return open_device("cpu", 0)


@dataclass
class Ended:
    """How the tests of one file or class ended: name → what a failure, error or skip says, empty where it passed."""

    tests: dict[str, str]
    said: str

    def all_passed(self) -> bool:
        assert self.tests, self.said
        return not any(self.tests.values())


@pytest.fixture(scope="module")
def on_fakes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """By file or class, how tests ended in one process with two fake accelerators: most take less than starting it."""
    folder = tmp_path_factory.mktemp("fakes")
    report, broken = folder / "report.xml", broken_device(folder)
    training = GPU / "test_training.py"
    asked = [GPU / "test_device.py", FAKE_ALONE, f"{broken}::TestBroken::{STAMPS}"]
    asked += [f"{training}::{name}" for name in (*NAMES, "test_workloads_train_on_it")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    done = subprocess.run(
        [*command, f"--junitxml={report}", *map(str, asked), str(GPU / "test_failures.py")],
        env=fake_accelerator.environment(), capture_output=True, text=True, timeout=550, cwd=ROOT,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, Ended] = {}
    for case in ET.parse(report).iter("testcase"):
        ended = found.setdefault(case.get("classname", "").split(".")[-1], Ended({}, done.stdout + done.stderr))
        ended.tests[case.get("name", "")] = "".join(f"{each.get('message')} {each.text}" for each in case)
    return found


def broken_device(folder: Path) -> Path:
    """A copy of tests/gpu/test_device.py whose accelerators do not wait."""
    whole = (GPU / "test_device.py").read_text()
    found = "        return found\n"
    planted = whole.replace(found, f"        found.synchronize = lambda: None\n{found}")
    assert planted != whole
    file = folder / "test_broken.py"
    file.write_text(planted.replace("class TestAccelerator", "class TestBroken"))
    return file


def test_fake_accelerators_keep_the_contract(on_fakes: dict[str, Ended]) -> None:
    contract, alone = on_fakes["TestAccelerator"], on_fakes["fake_checks"]
    assert contract.all_passed(), contract.said
    assert alone.all_passed(), alone.said
    assert set(contract.tests) == {f"{name}[{index}]" for name in CONTRACT for index in (0, 1)}
    assert len(alone.tests) == FAKE_ALONE.read_text().count("\ndef test_")


@pytest.mark.processes
def test_strategies_and_workloads_train_and_fail_on_two_fake_accelerators(on_fakes: dict[str, Ended]) -> None:
    training, failures = on_fakes["test_training"], on_fakes["test_failures"]
    assert training.all_passed(), training.said
    assert failures.all_passed(), failures.said
    assert set(NAMES) < set(training.tests)
    assert len(training.tests) == len(NAMES) + 6
    assert len(failures.tests) == 3


def test_a_device_that_breaks_the_contract_is_seen(on_fakes: dict[str, Ended]) -> None:
    """Negative control: an accelerator that does not wait, on the same fake."""
    broken = on_fakes["TestBroken"]
    assert set(broken.tests) == {f"{STAMPS}[{index}]" for index in (0, 1)}
    for said in broken.tests.values():
        assert "device not ready" in said
