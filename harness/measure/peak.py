"""The peak of what one rank computes on, in one precision: square matrix products, timed in a child of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.machine.device import Device, open_device
from harness.machine.peaks import datasheet_peak, measured_peak
from harness.measure.applied import name_of
from harness.schema.record import Peak
from harness.schema.registry import load_plugin
from harness.schema.suite import Choice
from harness.strategies import Place
from harness.strategies.precision import Precision, precisions

FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""PyTorch's type of a product → number format of datasheets."""
SAME_TYPE = ("tf32", "fp8")
"""Precisions whose products have a type that does not tell them: they go by the beginning of their name."""


def peak(asked_json: str) -> dict[str, Any]:
    """Measure one peak and look the datasheet's up; what fails is absent with the reason.

    asked_json: device (kind), cores (ids that a rank has; empty on accelerators), precision, plugins (paths).
    """
    asked = json.loads(asked_json)
    for path in asked["plugins"]:
        load_plugin(Path(path))
    choice, cores = Choice.model_validate(asked["precision"]), asked["cores"]
    if cores:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(len(cores))
    device = open_device(asked["device"], 0)
    device.activate()
    found = Peak(device=device.kind, name=device.name, cores=len(cores) or None, precision=choice.label)
    try:
        product, number_format = products(device, choice)
        flops_per_s, side = measured_peak(device, product)
        update: dict[str, Any] = {"flops_per_s": flops_per_s, "side": side, "number_format": number_format}
        if sheet := datasheet_peak(device.name, number_format):
            update |= {"datasheet_flops_per_s": sheet[0], "datasheet": sheet[1]}
    except Exception as error:
        update = {"absent": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    return found.model_copy(update=update).model_dump(mode="json")


def products(device: Device, choice: Choice) -> tuple[Callable[[int], Callable[[], Any]], str]:
    """(side → what multiplies two matrices of it) as the precision makes a linear layer compute, and its format.

    Both matrices are in the format before the clock starts: autocast keeps the weight it has converted, and the input
    is converted here.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    precision: Precision = precisions[choice.name].function(**choice.options)
    target = device.torch_device
    dtype = getattr(torch, precision.autocast) if precision.autocast else None

    def product_of(side: int) -> Callable[[], Any]:
        layer: nn.Module = nn.Sequential(nn.Linear(side, side, bias=False, device=target))
        if precision.convert is not None:
            layer = precision.convert(layer, Place(device, blocks=(nn.Sequential,)))
        x = torch.randn(side, side, device=target)
        x = precision.inputs(x) if precision.inputs is not None else x if dtype is None else x.to(dtype)
        return lambda: layer(x)

    context = nullcontext() if dtype is None else torch.autocast(device.kind, dtype=dtype)
    context.__enter__()  # for as long as the child lives: autocast forgets the converted weight when it is left
    kind = name_of(product_of(16)().dtype)
    named = next((known for known in SAME_TYPE if choice.name.startswith(known)), None)
    return product_of, named or FORMATS.get(kind, kind)
