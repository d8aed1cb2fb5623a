"""The operators of a trace that take most time, as PyTorch's profiler averages them (`key_averages`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

OPERATORS_KEPT = 25
STEPS = "ProfilerStep"
"""Begin of the name of what lasts a whole step: its own time is what no operator has, waiting for backward included."""


def operators(averages: Iterable[Any], steps: int) -> dict[str, Any]:
    """Of `key_averages()`: seconds of all operators per step, on what, and those with the most.

    self time of an operator = its time − that of operators inside it, on the device if any kernel ran there, else on
    the CPU, summed over calls and threads, ÷ steps. Kernels stand with the operator that started them, not again.
    Source: https://docs.pytorch.org/tutorials/recipes/recipes/profiler_recipe.html
    """
    found = [each for each in averages if each.device_type.name == "CPU" and not each.key.startswith(STEPS)]
    on_device = any(each.self_device_time_total > 0 for each in found)
    name = "self_device_time_total" if on_device else "self_cpu_time_total"
    self_s = {each.key: float(getattr(each, name)) * 1e-6 / steps for each in found}
    calls = {each.key: each.count / steps for each in found}
    most = sorted((key for key in self_s if self_s[key] > 0), key=lambda key: -self_s[key])[:OPERATORS_KEPT]
    return {
        "clock": "device" if on_device else "cpu",
        "self_s": sum(self_s.values()),
        "operators": [{"name": key[:120], "calls": calls[key], "self_s": self_s[key]} for key in most],
    }
