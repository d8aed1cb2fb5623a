"""What the driver of NVIDIA's devices tells, through NVML. Absent devices, driver or rights are an empty answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def facts() -> dict[str, Any]:
    """Driver version; of each device in torch's order: power limit in W, why its clock is throttled at the moment."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        handles = _visible(pynvml)
        watts = [_asked(pynvml, pynvml.nvmlDeviceGetEnforcedPowerLimit, handle) for handle in handles]
        reasons = [_asked(pynvml, pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) for handle in handles]
        return {
            "driver": _asked(pynvml, pynvml.nvmlSystemGetDriverVersion),
            "accelerator_power_limit_w": [value / 1000 for value in watts if value is not None],
            "accelerator_throttle": [throttle_reasons(pynvml, bits) for bits in reasons if bits is not None],
        }
    finally:
        pynvml.nvmlShutdown()


def throttle_reasons(nvml: Any, bits: int) -> str:
    """The names of the reasons in NVML's bit set: `SwPowerCap`, `HwThermalSlowdown`, … or `none`."""
    prefix = "nvmlClocksThrottleReason"
    known = {name.removeprefix(prefix): getattr(nvml, name) for name in dir(nvml) if name.startswith(prefix)}
    named = [name for name, bit in sorted(known.items()) if name not in ("All", "None", "GpuIdle") and bits & bit]
    return ", ".join(named) or "none"


def _visible(nvml: Any) -> list[Any]:
    """Handles of the devices that torch sees, in its order; CUDA_VISIBLE_DEVICES hides some and reorders others."""
    import torch

    handles = []
    for index in range(torch.cuda.device_count()):
        identity = str(torch.cuda.get_device_properties(index).uuid)
        handle = _asked(nvml, nvml.nvmlDeviceGetHandleByUUID, f"GPU-{identity}")
        if handle is not None:
            handles.append(handle)
    return handles


def _asked(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where the device does not give it."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None
