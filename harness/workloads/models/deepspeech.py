"""Deep Speech 2: convolutions over a spectrogram, bidirectional GRUs whose directions are added, one linear layer.

Where the published network normalises over the batch, here each sample is normalised by itself (GroupNorm of one group
after convolutions, LayerNorm between recurrent layers: as many parameters), so that what a sample teaches does not
depend on its neighbours. Padding is silence and read as such: all shapes are fixed, nothing is packed.

Source: https://arxiv.org/abs/1512.02595
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.in_turn import in_turn

Pair = tuple[int, int]
"""(along time, along frequency)"""
CLIPPED_AT = 20.0
"""largest activation, as published"""


class Convolution(nn.Module):
    """Convolution, normalisation, clipped ReLU: (batch, inputs, time, bins) → (batch, outputs, time, bins), strided."""

    def __init__(self, inputs: int, outputs: int, kernel: Pair, stride: Pair):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2))
        self.norm = nn.GroupNorm(1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Each stride divides its side, rounded up."""
        return F.hardtanh(self.norm(self.conv(x)), 0.0, CLIPPED_AT)


class Front(nn.Module):
    """Log-spectrogram (batch, time, bins) → features (batch, moments, channels × strided bins): the first piece."""

    def __init__(self, channels: int, kernels: Sequence[Pair], strides: Sequence[Pair]):
        super().__init__()
        inputs = [1, *[channels] * (len(kernels) - 1)]
        self.convolutions = nn.Sequential(
            *(Convolution(count, channels, *sides) for count, *sides in zip(inputs, kernels, strides, strict=True))
        )

    def forward(self, spectrogram: Tensor) -> Tensor:
        """All channels of a moment, one after another, are its features."""
        features: Tensor = self.convolutions(spectrogram.unsqueeze(1)).transpose(1, 2).flatten(2)
        return features


class Recurrent(nn.Module):
    """One repeated layer: (batch, time, inputs) → (batch, time, width), both directions of a GRU added."""

    def __init__(self, inputs: int, width: int, norm: bool, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(inputs) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(inputs, width, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (all layers but the first), read forwards and backwards, add."""
        both: Tensor = self.gru(self.dropout(self.norm(x)))[0]
        forwards, backwards = both.chunk(2, dim=-1)
        return forwards + backwards


class Readout(nn.Module):
    """(batch, time, width) → logits (batch, time, labels): the last piece."""

    def __init__(self, width: int, labels: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, labels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, one linear layer."""
        logits: Tensor = self.linear(self.norm(x))
        return logits


class DeepSpeech2(nn.Module):
    """Log-spectrogram (batch, time, bins) → logits (batch, moments, labels), label 0 the blank.

    kernels, strides: (time, frequency) of each convolution.
    """

    def __init__(
        self,
        *,
        bins: int,
        labels: int,
        channels: int,
        kernels: Sequence[Pair],
        strides: Sequence[Pair],
        layers: int,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.strides = [stride for stride, _ in strides]
        self.front = Front(channels, kernels, strides)
        for _, stride in strides:
            bins = -(-bins // stride)
        self.layers = nn.ModuleList(
            Recurrent(width if number else channels * bins, width, number > 0, dropout) for number in range(layers)
        )
        self.readout = Readout(width, labels)

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [self.front, *self.layers, self.readout]

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Logits of the labels at each moment."""
        return in_turn(self.pieces(), spectrogram)


def moments(frames: Tensor, strides: Sequence[int]) -> Tensor:
    """How many moments of the output have begun within so many frames of the input: divided, rounded up."""
    for stride in strides:
        frames = torch.div(frames + stride - 1, stride, rounding_mode="floor")
    return frames
