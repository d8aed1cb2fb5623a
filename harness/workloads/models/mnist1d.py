"""The four networks that MNIST-1D was published with, by their layers; PyTorch's own initialisation, as published.

Sources: https://arxiv.org/abs/2011.14439, https://github.com/greydanus/mnist1d (notebooks)
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.in_turn import in_turn

POINTS, CLASSES = 40, 10


class Dense(nn.Module):
    """relu(linear(x)), (batch, inputs) → (batch, outputs); skip: x is added to it."""

    def __init__(self, inputs: int, outputs: int, skip: bool):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        hidden = F.relu(self.linear(x))
        return x + hidden if self.skip else hidden


class Convolution(nn.Module):
    """relu(convolution) of (batch, channels, time) with stride 2, a zero at each end; (batch, time) is one channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return F.relu(self.convolution(x if x.ndim == 3 else x.unsqueeze(1)))


class Recurrent(nn.Module):
    """A GRU in both directions over (batch, time) → (batch, time, 2 × width)."""

    def __init__(self, width: int):
        super().__init__()
        self.gru = nn.GRU(1, width, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """Read the line both ways."""
        states: Tensor = self.gru(x.unsqueeze(-1))[0]
        return states


class Network(nn.Module):
    """Lines (batch, 40) → logits (batch, 10): layers, then dropout and one linear layer on all that they give.

    kind: logistic (no layers), mlp (two of `width`, the second with a skip), cnn (kernels 5, 3, 3, `width` channels),
    gru (`width` states in each direction).
    """

    def __init__(self, kind: str, width: int = 0, dropout: float = 0.0):
        super().__init__()
        layers, features = _layers(kind, width)
        self.layers = nn.Sequential(*layers)
        self.readout = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(features, CLASSES))

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [*self.layers, self.readout]

    def forward(self, lines: Tensor) -> Tensor:
        """Logits of the classes."""
        return in_turn(self.pieces(), lines)


def _layers(kind: str, width: int) -> tuple[list[nn.Module], int]:
    """The layers of this kind, and how many numbers they make of a line."""
    if kind == "logistic":
        return [], POINTS
    if kind == "mlp":
        return [Dense(POINTS, width, skip=False), Dense(width, width, skip=True)], width
    if kind == "cnn":
        return [Convolution(1, width, 5), Convolution(width, width, 3), Convolution(width, width, 3)], 5 * width
    if kind == "gru":
        return [Recurrent(width)], 2 * width * POINTS
    raise ValueError(f"no network is called {kind!r}")
