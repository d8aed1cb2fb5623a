"""Peaks: what a device can compute at most, by its maker's datasheet, and as matrix products timed here.

Dense figures: those with sparsity that datasheets print first are twice as high and are never reached in training.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.machine.device import Device

TERA = 1e12
NVIDIA = "https://www.nvidia.com"
AMPERE = f"{NVIDIA}/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
ADA = f"{NVIDIA}/content/dam/en-zz/Solutions/geforce/ada/nvidia-ada-gpu-architecture-whitepaper-v2.1.pdf"
VOLTA = "https://images.nvidia.com/content/technologies/volta/pdf/volta-v100-datasheet-update-us-1165301-r5.pdf"


@dataclass(frozen=True)
class Datasheet:
    """Dense FLOP/s of a device by number format (fp32, tf32, bf16, fp16, fp8), in units of 10^12, and where it stands.

    name: pattern of the whole name that PyTorch gives the device, so that no relative of another speed fits.
    """

    name: str
    tera: dict[str, float]
    source: str


DATASHEETS = (
    Datasheet(r"NVIDIA B200", {"fp32": 75, "tf32": 1100, "bf16": 2250, "fp16": 2250, "fp8": 4500},
              "https://resources.nvidia.com/en-us-blackwell-architecture/datasheet"),
    Datasheet(r"NVIDIA H200", {"fp32": 67, "tf32": 494.5, "bf16": 989.5, "fp16": 989.5, "fp8": 1979},
              f"{NVIDIA}/en-us/data-center/h200/"),
    Datasheet(r"NVIDIA H200 NVL", {"fp32": 60, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5, "fp8": 1670.5},
              f"{NVIDIA}/en-us/data-center/h200/"),
    Datasheet(r"NVIDIA H100 80GB HBM3", {"fp32": 67, "tf32": 494.5, "bf16": 989.5, "fp16": 989.5, "fp8": 1979},
              f"{NVIDIA}/en-us/data-center/h100/"),
    Datasheet(r"NVIDIA H100 NVL", {"fp32": 60, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5, "fp8": 1670.5},
              f"{NVIDIA}/en-us/data-center/h100/"),
    Datasheet(r"NVIDIA H100 PCIe", {"fp32": 51, "tf32": 378, "bf16": 756.5, "fp16": 756.5, "fp8": 1513},
              "https://www.nvidia.com/content/dam/en-zz/Solutions/gtcs22/data-center/h100/PB-11133-001_v01.pdf"),
    Datasheet(r"NVIDIA A100(-SXM4|-PCIE|-SXM)?[- ](40|80)GB( PCIe)?",
              {"fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312}, f"{NVIDIA}/en-us/data-center/a100/"),
    Datasheet(r"NVIDIA A40", {"fp32": 37.4, "tf32": 74.8, "bf16": 149.7, "fp16": 149.7},
              "https://images.nvidia.com/content/Solutions/data-center/a40/nvidia-a40-datasheet.pdf"),
    Datasheet(r"NVIDIA A30", {"fp32": 10.3, "tf32": 82, "bf16": 165, "fp16": 165},
              f"{NVIDIA}/en-us/data-center/products/a30-gpu/"),
    Datasheet(r"NVIDIA A10", {"fp32": 31.2, "tf32": 62.5, "bf16": 125, "fp16": 125},
              f"{NVIDIA}/en-us/data-center/products/a10-gpu/"),
    Datasheet(r"NVIDIA RTX A6000", {"fp32": 38.7, "tf32": 77.4, "bf16": 154.8, "fp16": 154.8}, AMPERE),
    Datasheet(r"NVIDIA L40S", {"fp32": 91.6, "tf32": 183, "bf16": 362.05, "fp16": 362.05, "fp8": 733},
              f"{NVIDIA}/en-us/data-center/l40s/"),
    Datasheet(r"NVIDIA L40", {"fp32": 90.5, "tf32": 90.5, "bf16": 181.05, "fp16": 181.05, "fp8": 362},
              f"{NVIDIA}/en-us/data-center/l40/"),
    Datasheet(r"NVIDIA L4", {"fp32": 30.3, "tf32": 60, "bf16": 121, "fp16": 121, "fp8": 242.5},
              f"{NVIDIA}/en-us/data-center/l4/"),
    Datasheet(r"Tesla V100-SXM2-(16|32)GB", {"fp32": 15.7, "fp16": 125}, VOLTA),
    Datasheet(r"Tesla V100-PCIE-(16|32)GB", {"fp32": 14, "fp16": 112}, VOLTA),
    Datasheet(r"Tesla T4", {"fp32": 8.1, "fp16": 65}, f"{NVIDIA}/en-us/data-center/tesla-t4/"),
    Datasheet(r"NVIDIA GeForce RTX 3090", {"fp32": 35.6, "tf32": 35.6, "bf16": 71, "fp16": 71}, AMPERE),
    Datasheet(r"NVIDIA GeForce RTX 4090", {"fp32": 82.6, "tf32": 82.6, "bf16": 165.2, "fp16": 165.2}, ADA),
)  # fmt: skip
"""Products accumulated in fp32, as PyTorch computes them: GeForce boards are twice as fast accumulating in fp16."""


def datasheet_peak(device_name: str, number_format: str) -> tuple[float, str] | None:
    """Dense FLOP/s of a device by its datasheet, and its URL; None where it is not known for sure."""
    for sheet in DATASHEETS:
        if re.fullmatch(sheet.name, device_name) and number_format in sheet.tera:
            return sheet.tera[number_format] * TERA, sheet.source
    return None


SIDES = {"cpu": (256, 512, 1024, 2048)}
SIDES_OF_ACCELERATORS = (2048, 4096, 8192)
ENOUGH_S = 0.2
CALLS_AT_LEAST, CALLS_AT_MOST = 3, 200
CALL_AT_MOST_S = 0.4

Product = Callable[[], Any]


def measured_peak(device: Device, product_of: Callable[[int], Product], sides: Sequence[int] = ()) -> tuple[float, int]:
    """FLOP/s of the quickest square matrix product, and the side of its matrices: best of several calls and sides.

        FLOP/s = 2 × side³ ÷ seconds of one call

    product_of: side → what multiplies two matrices of it on the device. A side whose call would take over 0.4 s, going
    by the one before, is left out: what a processor only emulates is slow, and would be no quicker.
    """
    best, at = 0.0, 0
    for side in sides or SIDES.get(device.kind, SIDES_OF_ACCELERATORS):
        flops = 2.0 * side**3
        if best and flops / best > CALL_AT_MOST_S:
            break
        seconds = quickest_call_s(device, product_of(side))
        if flops / seconds > best:
            best, at = flops / seconds, side
    return best, at


def quickest_call_s(device: Device, call: Product) -> float:
    """Seconds of the quickest of several calls, after one that is not timed; the device is idle before each."""
    call()
    device.synchronize()
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < CALLS_AT_LEAST or (time.perf_counter() - began < ENOUGH_S and len(seconds) < CALLS_AT_MOST):
        before = device.stamp()
        call()
        after = device.stamp()
        device.synchronize()
        seconds += device.seconds_between([before, after])
    return min(seconds)
