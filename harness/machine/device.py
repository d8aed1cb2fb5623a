"""The device a rank runs on: one class for CPU (a null object), one for any of torch's accelerators.

All that differs between them is here: waiting for the device, time stamps on its queue, allocator peaks, the
communication backend and what an out-of-memory error looks like. The rest of the code has no `if cuda`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.machine import data_size

if TYPE_CHECKING:
    import torch

CPU_OUT_OF_MEMORY = ("can't allocate memory", "std::bad_alloc")
"""What torch's allocator says, and C++ libraries below it."""
CPU_OUT_OF_LIMIT = ("could not create a primitive", "could not create a memory object")
"""What oneDNN says when it finds no memory; without a limit it may mean that it cannot do the operation at all."""
THREADED = 2**18
"""Elements of which torch gives every thread some."""


class Device:
    """A CPU, and the interface of all devices: nothing to wait for, wall-clock stamps, no allocator to ask."""

    kind = "cpu"
    index = 0

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch names it."""
        import torch

        return torch.device(self.kind)

    @property
    def name(self) -> str:
        """Name for people."""
        return "cpu"

    @property
    def uuid(self) -> str | None:
        """What the driver tells this device from others by, without the driver's prefix. None: it has none."""
        return None

    @property
    def backend(self) -> str:
        """Communication backend of torch.distributed for this kind of device: gloo on CPU, NCCL on CUDA."""
        import torch.distributed as dist

        return str(dist.get_default_backend_for_device(self.kind))

    def activate(self) -> None:
        """Make this the device that new work of the process goes to."""

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""

    def stamp(self) -> Any:
        """Return a point on the device's time line: cheap, waits for nothing."""
        return time.perf_counter_ns()

    def seconds_between(self, stamps: Sequence[Any]) -> list[float]:
        """Seconds between neighbouring stamps; `synchronize` first."""
        return [(after - before) * 1e-9 for before, after in itertools.pairwise(stamps)]

    def reset_peaks(self) -> None:
        """Forget the allocator's peaks until now."""

    def peaks(self) -> dict[str, float]:
        """Return the allocator's peaks since the last reset, by metric; empty where there is no such allocator."""
        return {}

    def random_state(self) -> bytes:
        """State of the generator that models on this device draw from."""
        import torch

        return torch.get_rng_state().numpy().tobytes()

    def samples(self, tensor: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return the samples of these indices of a tensor in host memory, on the device."""
        return tensor[indices]

    def limit_memory(self, limit_bytes: int) -> str | None:
        """Let this process take no more than so many bytes from now on; returns why this cannot be done, or None."""
        import torch

        torch.ones(THREADED).add_(1)  # threads of the pool are started, so that their stacks are not counted
        if data_size.limit_growth(limit_bytes):
            return None
        return "a memory limit on CPU needs Linux: other systems do not tell how much a process has asked for"

    def lift_memory_limit(self) -> bool:
        """Let the process take as much as there is again; returns whether there was a limit."""
        return data_size.lift_limit()

    def available_bytes(self) -> int:
        """Memory of the machine that is free."""
        return data_size.available_bytes()

    def is_out_of_memory(self, error: BaseException, limited: bool = False) -> bool:
        """Whether the error says that memory ran out. On CPU PyTorch raises a plain RuntimeError for that.

        limited: whether the process was under `limit_memory`.
        """
        import torch

        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        said = CPU_OUT_OF_MEMORY + (CPU_OUT_OF_LIMIT if limited else ())
        return isinstance(error, RuntimeError) and any(text in str(error) for text in said)


class Accelerator(Device):
    """One of torch's accelerators (cuda, xpu, mps, …) through the device-generic `torch.accelerator`.

    Source: https://docs.pytorch.org/docs/stable/accelerator.html
    """

    def __init__(self, kind: str, index: int):
        self.kind = kind
        self.index = index

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch names it."""
        import torch

        return torch.device(self.kind, self.index)

    @property
    def name(self) -> str:
        """Name for people, e.g. NVIDIA H200."""
        import torch

        module = torch.get_device_module(self.kind)
        return str(module.get_device_name(self.index)) if hasattr(module, "get_device_name") else self.kind

    @property
    def uuid(self) -> str | None:
        """What the driver tells this device from others by, without the driver's prefix. None: torch does not tell."""
        import torch

        module = torch.get_device_module(self.kind)
        if not hasattr(module, "get_device_properties"):
            return None
        found = getattr(module.get_device_properties(self.index), "uuid", None)
        return None if found is None else str(found)

    def activate(self) -> None:
        """Make this the current accelerator of the process."""
        import torch

        torch.accelerator.set_device_index(self.index)

    def synchronize(self) -> None:
        """Wait until all work given to the accelerator is done."""
        import torch

        torch.accelerator.synchronize(self.index)

    def stamp(self) -> torch.Event:
        """Record an event on the current stream; the host does not wait."""
        import torch

        event = torch.Event(device=self.kind, enable_timing=True)
        event.record()
        return event

    def seconds_between(self, stamps: Sequence[Any]) -> list[float]:
        """Seconds between neighbouring events; `synchronize` first."""
        return [before.elapsed_time(after) * 1e-3 for before, after in itertools.pairwise(stamps)]

    def reset_peaks(self) -> None:
        """Forget the caching allocator's peaks until now."""
        import torch

        torch.accelerator.reset_peak_memory_stats(self.index)

    def peaks(self) -> dict[str, float]:
        """Return the caching allocator's peaks since the last reset."""
        import torch

        return {
            "peak_allocated_bytes": float(torch.accelerator.max_memory_allocated(self.index)),
            "peak_reserved_bytes": float(torch.accelerator.max_memory_reserved(self.index)),
        }

    def random_state(self) -> bytes:
        """State of the device's generator."""
        import torch

        state: torch.Tensor = torch.get_device_module(self.kind).get_rng_state(self.torch_device)
        return state.cpu().numpy().tobytes()

    def samples(self, tensor: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return the samples of these indices of a tensor in host memory, on the device; the host does not wait.

        They are gathered in pinned memory: from pageable memory a copy waits for all work before it. PyTorch keeps the
        pinned block until the copy is over. Accelerators that pin no memory copy from where the samples are.
        Source: https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
        """
        import torch

        try:
            chosen = torch.empty((len(indices), *tensor.shape[1:]), dtype=tensor.dtype, pin_memory=True)
        except RuntimeError:
            return tensor[indices].to(self.torch_device)
        torch.index_select(tensor, 0, indices, out=chosen)
        return chosen.to(self.torch_device, non_blocking=True)

    def limit_memory(self, limit_bytes: int) -> str | None:
        """Let the caching allocator take no more of this device; returns why this cannot be done, or None.

        A limit beyond the device's memory changes nothing.
        Source: https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.set_per_process_memory_fraction.html
        """
        import torch

        module = torch.get_device_module(self.kind)
        if not hasattr(module, "set_per_process_memory_fraction") or not hasattr(module, "get_device_properties"):
            return f"torch has no memory limit for devices of kind {self.kind}"
        there = module.get_device_properties(self.index).total_memory
        module.set_per_process_memory_fraction(min(1.0, limit_bytes / there), self.index)
        return None

    def lift_memory_limit(self) -> bool:
        """Do nothing: what this process still has to say takes no memory of the device."""
        return False

    def available_bytes(self) -> int:
        """Memory of the device that is free."""
        import torch

        return int(torch.accelerator.get_memory_info(self.index)[0])


def open_device(kind: str, index: int) -> Device:
    """Return the device of that kind and index; the index is of no account on CPU."""
    return Device() if kind == "cpu" else Accelerator(kind, index)
