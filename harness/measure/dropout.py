"""Dropout in the steps that parity compares: switched off, since masks are drawn anew by each number of ranks.

One process draws the masks of all samples from one stream, N ranks draw theirs from N: losses differ by design, and a
comparison would tell nothing of the strategy. So the first steps of trial and reference train without dropout, and it
comes back before warm-up goes on. What parity then cannot see, masks that are equal on all ranks, is a fact of its own:
`dropout_streams`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from harness.machine.device import Device
from harness.measure.training import Training

Rate = tuple[nn.Module, str, float]


def rates_of(models: Iterable[nn.Module]) -> list[Rate]:
    """(module, attribute, rate) of every dropout rate above 0 that a module holds, each module once.

    A rate is a float: `p` of PyTorch's dropout modules, and attributes with `drop` in their name of any module
    (`dropout` of MultiheadAttention, LSTM and our GPT's attention, `attention_dropout`, `drop_prob`, …).
    """
    modules = {id(module): module for model in models for module in model.modules()}
    return [
        (module, name, rate)
        for module in modules.values()
        for name, rate in vars(module).items()
        if isinstance(rate, float) and 0 < rate <= 1 and ("drop" in name or (name == "p" and _drops(module)))
    ]


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd)


class Dropout:
    """The dropout of a training, off until `restore`; `facts` tells of it, and of what was drawn all the same."""

    def __init__(self, training: Training):
        self._training = training
        self._rates = rates_of((training.model, training.plain, *training.wrapped.replicas))
        self._before = random_states(training.device)
        self._off = True
        self._restored: bytes | None = None
        for module, name, _rate in self._rates:
            setattr(module, name, 0.0)

    @property
    def rates(self) -> list[Rate]:
        """(module, attribute, rate) of every rate, as they are when it is not off."""
        return self._rates

    def drawn_since_restored(self) -> bool:
        """Whether random numbers were drawn on the device since the rates came back."""
        return self._restored is not None and self._training.device.random_state() != self._restored

    def facts(self) -> dict[str, str]:
        """What the record says: `dropout` where there is any, `random_numbers` where steps drew some all the same.

        Call it between steps, before `restore`.
        """
        found = {}
        if self._rates:
            found["dropout"] = f"{len(self._rates)} rates, 0 in the first steps, which parity compares"
        now = random_states(self._training.device)
        if drawn := [name for name, state in now.items() if state != self._before[name]]:
            found["random_numbers"] = f"steps draw random numbers that could not be switched off ({', '.join(drawn)})"
        return found

    def restore(self) -> None:
        """Give every module its rate again; later calls do nothing."""
        if self._off:
            self._off = False
            self._restored = self._training.device.random_state()
            for module, name, rate in self._rates:
                setattr(module, name, rate)


@contextmanager
def without_dropout(training: Training) -> Iterator[Dropout]:
    """Dropout is off from here until `restore`, at the latest until this closes.

    Rates are set to 0 rather than modules to evaluation mode: an evaluation in between puts all modules into training
    mode again.
    """
    dropout = Dropout(training)
    try:
        yield dropout
    finally:
        dropout.restore()


def random_states(device: Device) -> dict[str, str]:
    """A hash of the state of each generator that a model may draw from, by the generator's name."""
    _kind, keys, *rest = np.random.get_state()
    states = {
        f"torch on {device.kind}": device.random_state(),
        "torch on cpu": Device().random_state(),
        "numpy": np.asarray(keys).tobytes() + repr(rest).encode(),
        "random": repr(random.getstate()).encode(),
    }
    return {name: hashlib.sha256(state).hexdigest() for name, state in states.items()}


def dropout_streams(training: Training) -> int:
    """How many different streams of random numbers the ranks that take different data draw their masks from.

    Read from the live generators of the device, off the clock; ranks that hold one model together count once.
    """
    if training.place.world_size == 1:
        return 1
    digest = hashlib.sha256(training.device.random_state()).digest()
    own = torch.tensor(list(digest[:8]), dtype=torch.int64, device=training.device.torch_device)
    every = [torch.empty_like(own) for _ in range(training.place.world_size)]
    dist.all_gather(every, own)
    return len({tuple(state.tolist()) for state in every[:: training.place.model_ranks]})
