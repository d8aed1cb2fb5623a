"""The contract of devices on the CPU, and on a fake accelerator that stands behind PyTorch's real interfaces.

The fake is compiled here (tests/fake_accelerator) and loaded by PyTorch itself in processes of their own, since a
process has one kind of accelerator only. There the tests of tests/gpu run as they do on real hardware: devices, plan,
ranks, DDP and FSDP over two devices.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine.device import Device, open_device
from tests import fake_accelerator
from tests.device_contract import DeviceContract

TESTS = Path(__file__).parent
FAKE_ALONE = TESTS / "fake_accelerator" / "fake_checks.py"


class TestCpu(DeviceContract):
    @pytest.fixture
    def device(self) -> Device:
        return open_device("cpu", 0)


def outcome(*arguments: str) -> tuple[int, dict[str, int], str]:
    """Exit code, how many tests ended how, and what was printed, of pytest with two fake accelerators."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, env=fake_accelerator.environment(), capture_output=True, text=True, timeout=550, cwd=TESTS.parent
    )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}
    return done.returncode, counts, done.stdout + done.stderr


def test_fake_accelerators_keep_the_contract() -> None:
    code, counts, said = outcome(str(TESTS / "gpu" / "test_device.py"), str(FAKE_ALONE))
    assert code == 0, said
    contract = [name for name in dir(DeviceContract) if name.startswith("test_")]
    assert counts["passed"] == 2 * len(contract) + FAKE_ALONE.read_text().count("\ndef test_")
    assert "skipped" not in counts


CELLS = {
    "fp32": ("single", "dp", "ddp", "ddp_views", "ddp_bf16_gradients", "zero1", "fsdp", "fsdp_zero2", "fsdp_offload"),
    "bf16": ("ddp", "fsdp"),
    "fp16": ("single", "fsdp"),
}
"""Those whose collectives and operations the fake has; real accelerators run all that is registered."""


@pytest.mark.processes
def test_strategies_and_workloads_train_and_fail_on_two_fake_accelerators() -> None:
    file = TESTS / "gpu" / "test_training.py"
    cells = [
        f"{file}::test_cell_passes_parity_or_says_why_it_cannot_run[{strategy}-{precision}]"
        for precision, strategies in CELLS.items()
        for strategy in strategies
    ]
    code, counts, said = outcome(*cells, f"{file}::test_workloads_train_on_it", str(TESTS / "gpu" / "test_failures.py"))
    assert code == 0, said
    assert counts["passed"] == len(cells) + 6 + 3
    assert "skipped" not in counts


def test_a_device_that_breaks_the_contract_is_seen(tmp_path: Path) -> None:
    """Negative control: an accelerator that does not wait, on the same fake."""
    broken = TESTS / "gpu" / "test_device.py"
    planted = broken.read_text().replace(
        "        return found\n", "        found.synchronize = lambda: None\n        return found\n"
    )
    assert planted != broken.read_text()
    file = tmp_path / "test_broken.py"
    file.write_text(planted)
    code, counts, said = outcome(str(file), f"--rootdir={TESTS.parent}", "-k", "stamps")
    assert code == 1, said
    assert counts["failed"] == 2
    assert "device not ready" in said
