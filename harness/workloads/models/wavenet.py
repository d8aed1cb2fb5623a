"""WaveNet: causal convolutions with growing dilations, gated; each layer adds to a residual and to a sum of skips.

    ids → embedding → layer 1 → layer 2 → …            dilations 1, 2, 4, …, again from 1 in the next stack
                         ╰→ skip ─┴→ skip ─┴→ … → relu → linear → relu → linear → logits of the next sample

Training and generation are one code path: a layer is given what it heard before the samples at hand. In training that
is silence (zeros), in generation a queue per layer, so that a new sample costs one column and not the receptive field.

Sources: https://arxiv.org/abs/1609.03499, https://arxiv.org/abs/1611.09482 (queues)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 2


class Queue:
    """What a layer heard last: (batch, channels, 1) at each of the last `dilation` moments; silence at first."""

    def __init__(self, dilation: int) -> None:
        self._heard: list[Tensor | None] = [None] * dilation
        self._next = 0

    def exchange(self, x: Tensor) -> Tensor:
        """Keep this moment, return the one `dilation` moments before it."""
        earlier, self._heard[self._next] = self._heard[self._next], x
        self._next = (self._next + 1) % len(self._heard)
        return torch.zeros_like(x) if earlier is None else earlier


class Memory:
    """A queue for each layer. No list or tuple: wrappers of models rebuild those, and the queues must stay the same."""

    def __init__(self, dilations: Sequence[int]) -> None:
        self.queues = [Queue(dilation) for dilation in dilations]


class Layer(nn.Module):
    """One repeated layer: (batch, residual, time) → the same for the next layer, and its skip (batch, skip, time).

    tanh(filter) × sigmoid(gate) of a causal convolution of two moments, `dilation` apart. The last layer has no next:
    `last` leaves that convolution out, which nothing would teach.
    """

    def __init__(self, residual: int, gate: int, skip: int, dilation: int, last: bool, dropout: float):
        super().__init__()
        self.dilation = dilation
        self.dilated = nn.Conv1d(residual, 2 * gate, KERNEL, dilation=dilation)
        self.residual = None if last else nn.Conv1d(gate, residual, 1)
        self.skip = nn.Conv1d(gate, skip, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, queue: Queue | None = None) -> tuple[Tensor, Tensor]:
        """queue: x is one moment, and what came before is in it; None: x begins after silence."""
        if queue is None:
            both = self.dilated(F.pad(x, (self.dilation, 0)))
        else:
            pair = torch.cat((queue.exchange(x), x), dim=2)
            both = F.conv1d(pair, self.dilated.weight, self.dilated.bias)  # its two moments, now side by side
        filtered, gate = both.chunk(2, dim=1)
        gated = self.dropout(filtered.tanh() * gate.sigmoid())
        passed = x if self.residual is None else x + self.residual(gated)
        return passed, self.skip(gated)


class WaveNet(nn.Module):
    """Samples as ids (batch, time) → logits of each one's successor (batch, levels, time).

    layers: in all stacks together; stacks: how often the dilations begin again; residual, gate, skip: channels.
    """

    def __init__(
        self, *, levels: int, layers: int, stacks: int, residual: int, gate: int, skip: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, residual)
        self.dilations = [2 ** (number % (layers // stacks)) for number in range(layers)]
        self.layers = nn.ModuleList(
            Layer(residual, gate, skip, dilation, number == layers - 1, dropout)
            for number, dilation in enumerate(self.dilations)
        )
        self.mix = nn.Conv1d(skip, skip, 1)
        self.readout = nn.Conv1d(skip, levels, 1)

    def forward(self, ids: Tensor, memory: Memory | None = None) -> Tensor:
        """memory: `ids` are one moment after those of the earlier calls with it; None: they begin after silence."""
        x = self.embedding(ids).transpose(1, 2)
        skips: Tensor | None = None
        for number, layer in enumerate(self.layers):
            x, skip = layer(x) if memory is None else layer(x, memory.queues[number])
            skips = skip if skips is None else skips + skip
        assert skips is not None
        logits: Tensor = self.readout(F.relu(self.mix(F.relu(skips))))
        return logits
