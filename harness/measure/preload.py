"""What the fork server imports once, so that a trial costs its own work and not another import of torch.

Imports only: an operation that uses threads here would make every forked child hang at its own first one, and an
accelerator that is initialised here is unusable in the children.
"""

from __future__ import annotations

import gc

import torch._dynamo
import torch.distributed._tools.fsdp2_mem_tracker
import torch.distributed._tools.mem_tracker
import torch.distributed.algorithms._checkpoint.checkpoint_wrapper
import torch.distributed.fsdp  # noqa: F401

import harness.measure.worker
import harness.monitors
import harness.recipes.optimizers
import harness.recipes.schedules
import harness.strategies.precision
import harness.strategies.techniques
import harness.workloads

for _registry in (
    harness.workloads.registry,
    harness.strategies.registry,
    harness.strategies.precision.precisions,
    harness.strategies.techniques.techniques,
    harness.recipes.optimizers.registry,
    harness.recipes.schedules.registry,
    harness.monitors.registry,
):
    _registry.load()

# Children share these pages with the server as long as nobody writes to them; the collector would.
gc.collect()
gc.freeze()
