"""What every device promises, of whatever kind: run on the CPU, on a fake accelerator and on real ones."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.distributed as dist

from harness.machine.device import Device

MEBIBYTE = 2**20
SIDE = 512


def allocated(device: Device) -> int:
    """Bytes of tensors on the device now; 0 where nobody counts them."""
    gc.collect()
    return 0 if device.kind == "cpu" else torch.accelerator.memory_allocated(device.index)


class DeviceContract:
    """A subclass gives the fixture `device`."""

    def test_it_is_what_torch_calls_it(self, device: Device) -> None:
        assert device.torch_device.type == device.kind
        assert device.name
        tensor = torch.ones(3, device=device.torch_device)
        assert tensor.device.type == device.kind
        assert tensor.device.index == (None if device.kind == "cpu" else device.index)

    def test_new_work_goes_to_the_active_device(self, device: Device) -> None:
        device.activate()
        assert (torch.ones(3, device=device.kind).device.index or 0) == device.index

    def test_its_communication_backend_is_there(self, device: Device) -> None:
        assert dist.is_backend_available(device.backend)

    def test_stamps_have_seconds_between_them_once_the_device_is_idle(self, device: Device) -> None:
        device.activate()
        matrix = torch.ones(SIDE, SIDE, device=device.torch_device)
        stamps = [device.stamp()]
        for _ in range(3):
            matrix @ matrix
            stamps.append(device.stamp())
        device.synchronize()
        seconds = device.seconds_between(stamps)
        assert len(seconds) == 3
        assert all(0 < each < 60 for each in seconds)
        (whole,) = device.seconds_between([stamps[0], stamps[-1]])
        assert sum(seconds) == pytest.approx(whole, rel=1e-3, abs=1e-5)
        assert device.seconds_between(stamps[:1]) == []

    def test_peaks_are_those_since_the_last_reset(self, device: Device) -> None:
        device.activate()
        before = allocated(device)
        device.reset_peaks()
        held = torch.empty(4 * MEBIBYTE, dtype=torch.uint8, device=device.torch_device)
        del held
        peaks = device.peaks()
        if device.kind == "cpu":
            assert peaks == {}
            return
        assert set(peaks) == {"peak_allocated_bytes", "peak_reserved_bytes"}
        assert peaks["peak_allocated_bytes"] == pytest.approx(before + 4 * MEBIBYTE, abs=MEBIBYTE / 2)
        assert peaks["peak_reserved_bytes"] >= peaks["peak_allocated_bytes"]
        device.reset_peaks()
        assert device.peaks()["peak_allocated_bytes"] == allocated(device)

    def test_memory_that_runs_out_is_told_from_other_errors(self, device: Device) -> None:
        with pytest.raises(RuntimeError) as caught:
            torch.empty(2**50, dtype=torch.uint8, device=device.torch_device)
        assert device.is_out_of_memory(caught.value)
        with pytest.raises(RuntimeError) as other:
            torch.ones(2, 3, device=device.torch_device) @ torch.ones(2, 3, device=device.torch_device)
        assert not device.is_out_of_memory(other.value)

    def test_after_memory_ran_out_nothing_is_lost_and_work_goes_on(self, device: Device) -> None:
        device.activate()
        before = allocated(device)

        def too_much() -> None:
            held = torch.ones(MEBIBYTE, device=device.torch_device)
            torch.empty(2**50, dtype=torch.uint8, device=device.torch_device)
            del held

        with pytest.raises(RuntimeError):
            too_much()
        assert allocated(device) == before
        assert torch.ones(8, device=device.torch_device).sum().item() == 8
        device.synchronize()

    def test_samples_are_those_of_the_indices(self, device: Device) -> None:
        rows = torch.arange(24, dtype=torch.float32).reshape(6, 2, 2)
        labels = torch.arange(6)
        indices = torch.tensor([4, 0, 4])
        for tensor in (rows, labels, rows[:, 1], labels > 2):
            chosen = device.samples(tensor, indices)
            assert chosen.device.type == device.kind
            assert chosen.dtype == tensor.dtype
            device.synchronize()
            assert torch.equal(chosen.cpu(), tensor[indices])

    def test_random_state_is_of_the_generator_that_draws_on_the_device(self, device: Device) -> None:
        device.activate()
        torch.manual_seed(1)
        seeded = device.random_state()
        first = torch.nn.functional.dropout(torch.ones(64, device=device.torch_device))
        assert device.random_state() != seeded
        torch.manual_seed(1)
        assert device.random_state() == seeded
        again = torch.nn.functional.dropout(torch.ones(64, device=device.torch_device))
        assert torch.equal(first, again)
        torch.manual_seed(2)
        assert device.random_state() != seeded
