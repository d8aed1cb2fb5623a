"""Makes the fake accelerator known to PyTorch, which loads this by itself: it is a backend as a package would bring it.

Collectives run as gloo's on the same memory. Source: https://docs.pytorch.org/tutorials/unstable/python_extension_autoload.html
"""

import os
import types
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

KIND = "fake"


def counts(what: str) -> int:
    """How often something happened in this process; see the C++ source."""
    return int(torch.ops.fake_accelerator.counts(what))


def load() -> None:
    """What PyTorch calls at the end of its own import."""
    torch.ops.load_library(Path(__file__).with_name("libfake_accelerator.so"))
    torch.utils.rename_privateuse1_backend(KIND)
    torch._register_device_module(KIND, _module())
    torch.utils.generate_methods_for_privateuse1_backend()
    _communicates()


def _module() -> types.ModuleType:
    module: Any = types.ModuleType(f"torch.{KIND}")
    module.is_available = lambda: True
    module.device_count = lambda: int(os.environ.get("FAKE_ACCELERATORS", "2"))
    module.is_initialized = lambda: True
    module.current_device = lambda: torch.accelerator.current_device_index()
    module.get_device_name = lambda index=0: f"fake accelerator {index}"
    module.get_device_properties = lambda index: types.SimpleNamespace(name="fake accelerator", total_memory=64 << 20)
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    module._is_in_bad_fork = lambda: False
    module.manual_seed_all = lambda seed: None  # the CPU's generator draws, and is seeded already
    module.get_rng_state = lambda device=KIND: torch.default_generator.get_state()
    module.set_rng_state = lambda state, device=KIND: torch.default_generator.set_state(state)
    module.Stream, module.Event = torch.Stream, torch.Event
    module.current_stream = lambda device=None: torch.accelerator.current_stream(device)
    module.stream = lambda stream: stream
    module.set_device = lambda device: torch.accelerator.set_device_index(device)
    module.synchronize = lambda device=None: torch.accelerator.synchronize(device)
    return module


def _communicates() -> None:
    import torch.distributed as dist

    if not dist.is_available():
        return

    def host(tensors: Any) -> Any:
        if isinstance(tensors, torch.Tensor):
            return torch.ops.fake_accelerator.host_view(tensors)
        return [host(tensor) for tensor in tensors]

    class Collectives(dist.ProcessGroup):  # type: ignore[misc]
        """gloo on the devices' memory, which is the host's."""

        def __init__(self, store: Any, rank: int, size: int, timeout: timedelta):
            super().__init__(rank, size)
            self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

        def getBackendName(self) -> str:
            return "fakeccl"

        @property
        def group_name(self) -> str:
            return str(dist.distributed_c10d._world.pg_names[self])

        def allreduce(self, tensors: Any, opts: Any = None) -> Any:
            return self._gloo.allreduce(host(tensors), opts or dist.AllreduceOptions())

        def allreduce_coalesced(self, tensors: Any, opts: Any = None) -> Any:
            return self._gloo.allreduce_coalesced(host(tensors), opts)

        def broadcast(self, tensors: Any, opts: Any = None) -> Any:
            return self._gloo.broadcast(host(tensors), opts)

        def allgather(self, outputs: Any, inputs: Any, opts: Any = None) -> Any:
            return self._gloo.allgather(host(outputs), host(inputs), opts or dist.AllgatherOptions())

        def _allgather_base(self, output: Any, given: Any, opts: Any = None) -> Any:
            return self._gloo._allgather_base(host(output), host(given), opts or dist.AllgatherOptions())

        def _reduce_scatter_base(self, output: Any, given: Any, opts: Any = None) -> Any:
            return self._gloo._reduce_scatter_base(host(output), host(given), opts)

        all_gather_single, reduce_scatter_single = _allgather_base, _reduce_scatter_base  # names since PyTorch 2.12

        def barrier(self, opts: Any = None) -> Any:
            return self._gloo.barrier()

    def create(store: Any, rank: int, size: int, timeout: timedelta) -> Collectives:
        return Collectives(store, rank, size, timeout)

    dist.Backend.register_backend("fakeccl", create, devices=[KIND])
