"""Every optimizer on two real ranks: parameters divided by FSDP2, and whole ones shared out by ZeRO-1.

Both ranks train on the same batches, so that all must end where one process does. Run by test_optimizers_two_ranks.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from harness.machine.device import open_device
from harness.recipes import optimizers
from harness.recipes.build import decay_groups, weights_to_judge
from harness.strategies import Place, registry

STEPS = 4
RATES = {"adadelta": 1.0, "lbfgs": 0.1, "sgd": 0.02}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3))


def train(model: nn.Module, optimizer: Any, plain: nn.Module) -> list[torch.Tensor]:
    """The whole weights that the optimizer is judged by, after a few steps."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        tokens = torch.randint(11, (64,), generator=generator)
        nn.functional.cross_entropy(model(tokens), tokens % 3).backward()
        optimizer.step()
        optimizer.zero_grad()
    with weights_to_judge(optimizer):
        return [(p.full_tensor() if isinstance(p, DTensor) else p).detach().clone() for p in plain.parameters()]


def found(name: str, strategy: str | None, place: Place) -> list[torch.Tensor]:
    """Train with a strategy, or as one process; nothing that is declared impossible is stopped here."""
    entry, model = optimizers.registry[name], network()
    wrapped = registry[strategy].function(model, place) if strategy else None
    outer = wrapped.model if wrapped else model
    decay = 0.0 if entry.facts.weight_decay == "none" else 0.1
    groups = decay_groups(outer, decay, entry.facts.splits_hidden)

    def construct(given: Any) -> Any:
        return entry.function(given, RATES.get(name, 0.01))

    own = wrapped.optimizer if wrapped else None
    return train(outer, own(groups, construct) if own else construct(groups), model)


def difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest difference of a weight, relative to the largest weight of its parameter."""
    pairs = zip(one, other, strict=True)
    return max(float((p - q).abs().max() / p.abs().max().clamp(min=1e-3)) for p, q in pairs)


def main(folder: str, *names: str) -> None:
    """Write what was found on this rank: by strategy and optimizer, a difference or the first words of an error."""
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    place = Place(open_device("cpu", 0), rank, 2, 2)
    results: dict[str, dict[str, float | str]] = {"fsdp": {}, "zero1": {}}
    for strategy, by_name in results.items():
        for name in names:
            alone = found(name, None, place)
            try:
                by_name[name] = difference(alone, found(name, strategy, place))
            except Exception as error:
                by_name[name] = f"{type(error).__name__}: {error}"[:300]
            dist.barrier()
    Path(folder, f"rank-{rank}.json").write_text(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may hang at the end of the process


if __name__ == "__main__":
    main(*sys.argv[1:])
