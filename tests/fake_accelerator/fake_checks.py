"""What only a fake accelerator tells: how often a step waits, reads back, or copies from memory that is not pinned.

`test_device.py` runs this file in a process that has the fake.
"""

from __future__ import annotations

from collections.abc import Callable

import fake_accelerator
import pytest
import torch

from harness.machine.device import open_device
from harness.measure.loop import run_laps
from harness.measure.training import Training, build_training
from tests.conftest import make_trial

WAITED, READ, WAITS = "copies to a device that waited", "values read back", "waits for device 0"
MEBIBYTE = 2**20


def built() -> Training:
    open_device("fake", 0).activate()
    return build_training(make_trial(device="fake"), 0, 1, 0)


def during(action: Callable[[], object], what: str) -> int:
    """How often it happened while the action ran."""
    before = fake_accelerator.counts(what)
    action()
    return fake_accelerator.counts(what) - before


def test_timed_steps_read_nothing_back_and_wait_at_both_ends_only() -> None:
    training = built()
    training.step()
    assert during(lambda: run_laps(training, 4), READ) == 0
    assert during(lambda: run_laps(training, 4), WAITS) == 2
    laps = run_laps(training, 4)
    assert len(laps.step_s) == 4
    assert sum(laps.step_s) <= laps.wall_s


def test_the_counts_see_what_the_loop_must_not_do() -> None:
    """Negative control."""
    training = built()

    def reads_back() -> None:
        training.step().loss.item()

    assert during(reads_back, READ) == 1
    device = training.device
    stamps = [device.stamp(), device.stamp()]
    with pytest.raises(RuntimeError, match="not ready"):
        device.seconds_between(stamps)
    device.synchronize()
    assert device.seconds_between(stamps)[0] >= 0


def test_batches_come_from_pinned_memory_and_wait_for_nothing() -> None:
    training = built()
    assert during(lambda: list(training.batches(0)), WAITED) == 0
    assert (
        during(lambda: list(training.batches(0)), "copies to a device") == 4 * 2
    )  # rows and labels of 4 micro-batches
    pageable = training.workload.train[0][:4]
    assert during(lambda: pageable.to("fake", non_blocking=True), WAITED) == 1, "control: pageable memory waits"


def test_cached_memory_is_given_back_before_memory_runs_out() -> None:
    """The limit is 64 MiB: 40 MiB in the cache do not keep another 48 MiB from being taken."""
    device = open_device("fake", 1)
    device.activate()
    torch.empty(40 * MEBIBYTE, dtype=torch.uint8, device=device.torch_device)
    held = torch.empty(48 * MEBIBYTE, dtype=torch.uint8, device=device.torch_device)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(48 * MEBIBYTE, dtype=torch.uint8, device=device.torch_device)
    assert device.is_out_of_memory(caught.value)
    del held
    torch.empty(60 * MEBIBYTE, dtype=torch.uint8, device=device.torch_device)


def test_devices_are_counted_apart() -> None:
    devices = [open_device("fake", index) for index in (0, 1)]
    for device in devices:
        device.reset_peaks()
    before = [device.peaks()["peak_allocated_bytes"] for device in devices]
    held = torch.empty(MEBIBYTE, dtype=torch.uint8, device="fake:1")
    after = [device.peaks()["peak_allocated_bytes"] for device in devices]
    assert after[0] == before[0]
    assert after[1] == before[1] + held.numel()
    assert during(devices[1].synchronize, WAITS) == 0
    assert during(devices[0].synchronize, WAITS) == 1
