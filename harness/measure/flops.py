"""FLOPs of a workload per sample: counted by PyTorch on the plain model, from shapes alone where the model allows.

Source: https://github.com/pytorch/pytorch/blob/main/torch/utils/flop_counter.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.schema.registry import load_plugin
from harness.workloads import Workload, registry

SAMPLES = 2
"""Samples of the batch that is counted: one would do for most models, BatchNorm over single values refuses one."""
PARAMETERS_AT_MOST = 200_000_000
"""Trainable parameters up to which real tensors are tried where shapes alone do not do: more would take minutes."""


def count(workload_json: str) -> dict[str, Any]:
    """`flops_per_sample` of a workload and where it was counted, or `flops_absent` with the reason.

    workload_json: name, size, options, plugins (paths).
    """
    asked = json.loads(workload_json)
    try:
        for path in asked["plugins"]:
            load_plugin(Path(path))
        workload = registry[asked["name"]].function(asked["size"], **asked["options"])
        flops, place = flops_per_sample(workload)
    except Exception as error:
        return {"flops_absent": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    if flops == 0:
        return {"flops_absent": "PyTorch's counter knows none of the model's operations"}
    return {"flops_per_sample": flops, "flops_counted_on": place}


def flops_per_sample(workload: Workload) -> tuple[float, str]:
    """FLOPs of forward and backward per sample, and the device they were counted on: meta, or cpu.

    Raises what the model raises on the CPU, or what it raised on meta where it is too large for the CPU.
    """
    try:
        return counted(workload, "meta"), "meta"
    except Exception:
        if _parameters(workload) > PARAMETERS_AT_MOST:
            raise
        return counted(workload, "cpu"), "cpu"


def _parameters(workload: Workload) -> int:
    """Parameters, without memory for them; 0 where the model cannot be built so: the child's time limit must do."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in workload.build().parameters())
    except Exception:
        return 0


def counted(workload: Workload, kind: str) -> float:
    """FLOPs per sample of one forward and backward pass of a small batch in fp32.

    A multiplication and an addition count as two; only matrix products and convolutions are counted, as everywhere.
    Attention is counted as its plain matrix products, whatever kernel a device would take: fused kernels are not
    known to the counter on CPU, and elsewhere it adds what their backward pass computes again. A causal mask saves
    nothing in this count.
    """
    with torch.device(kind):
        model = workload.build()
    batch = tuple(tensor[:SAMPLES].to(kind) for tensor in workload.train)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        workload.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops() / len(batch[0])
