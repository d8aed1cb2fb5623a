"""Look at the machine: devices, cores, what they compute slowly or not at all. Runs in a child, since it asks torch."""

from __future__ import annotations

import platform
from collections.abc import Collection

from harness.machine.environment import cores, fingerprint, machine_key
from harness.machine.inventory import Inventory

AUTOCAST = {"bf16": "bfloat16", "fp16": "float16"}
"""Precision → torch's name of the type that it computes in."""
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx_ne_convert")
INSTRUCTIONS = {
    "fp16": ("avx512_fp16", "amx_fp16"),
    "bf16": BF16_INSTRUCTIONS,
    "bf16_weights": BF16_INSTRUCTIONS,
}
"""Precision → x86 instruction sets of which one is needed to compute in it at full speed."""


def probe() -> Inventory:
    """What this machine offers, as this process sees it (affinity, CUDA_VISIBLE_DEVICES and the like included)."""
    kind, names, memory = accelerators()
    environment = fingerprint()
    environment |= {"accelerator": kind} if kind else {}
    environment |= {"accelerator_names": names} if names else {}
    environment |= {"accelerator_memory_bytes": memory} if memory else {}
    kinds = ["cpu", kind] if kind else ["cpu"]
    return Inventory(
        accelerator=kind,
        accelerator_names=names,
        accelerator_memory_bytes=memory,
        capability=capability(kind),
        cores=cores(),
        slow_precisions=slow_precisions(platform.machine(), _instruction_sets(environment.get("cpu_flags", []))),
        unsupported_precisions={each: refused for each in kinds if (refused := refused_precisions(each))},
        environment=environment,
        machine_key=machine_key(environment),
    )


def accelerators() -> tuple[str | None, list[str], list[int]]:
    """Kind of torch's accelerator, names and memory in bytes of its devices; None and empty without one."""
    import torch

    current = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if current is not None else 0
    if current is None or count == 0:
        return None, [], []
    kind, module = current.type, torch.get_device_module(current.type)
    if not hasattr(module, "get_device_properties"):
        return kind, [kind] * count, []
    properties = [module.get_device_properties(index) for index in range(count)]
    memory = [int(each.total_memory) for each in properties if hasattr(each, "total_memory")]
    return kind, [str(getattr(each, "name", kind)) for each in properties], memory


def capability(kind: str | None) -> tuple[int, int] | None:
    """Compute capability of the least of NVIDIA's devices; None without one. AMD's numbers mean something else."""
    import torch

    if kind != "cuda" or torch.version.cuda is None:
        return None
    return min(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))


def slow_precisions(architecture: str, instruction_sets: Collection[str]) -> dict[str, str]:
    """Precisions that an x86 CPU without the instructions for them computes in another type: right, but slow."""
    if architecture.lower() not in ("x86_64", "amd64"):
        return {}
    return {
        precision: f"emulated: this CPU has none of {', '.join(needed)}"
        for precision, needed in INSTRUCTIONS.items()
        if not set(needed) & set(instruction_sets)
    }


def _instruction_sets(flags: Collection[str]) -> set[str]:
    """Instruction sets by torch's names; older versions of torch do not tell, then by the kernel's."""
    import torch

    tell = getattr(torch.cpu, "get_capabilities", None)
    return {name for name, has in tell().items() if has is True} if tell else set(flags)


def refused_precisions(kind: str) -> dict[str, str]:
    """Precisions whose autocast fails on a small product on this kind of device, with what torch says."""
    import torch

    refused = {}
    for precision, name in AUTOCAST.items():
        dtype = getattr(torch, name)
        try:
            left = torch.ones(4, 4, device=kind)
            with torch.autocast(kind, dtype=dtype):
                product = left @ left
            works = product.dtype == dtype and bool((product == 4).all())
            reason = None if works else f"autocast gives {product.dtype}"
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
        if reason:
            refused[precision] = reason
    return refused
