"""Residual networks with BatchNorm: basic and bottleneck blocks, a stem for small pictures and the published one.

Initialisation: kaiming (fan out) for convolutions, BatchNorm 1 and 0, as published. The stride of a bottleneck is in
its 3×3 convolution, as all current implementations have it.

Source: https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.workloads.models.in_turn import in_turn
from harness.workloads.models.stochastic_depth import StochasticDepth, rate_at


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the size, and its BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """One repeated layer: relu(x + branch(x)), (batch, inputs, h, w) → (batch, outputs, h ÷ stride, w ÷ stride).

    basic: two 3×3 convolutions; bottleneck: 1×1, 3×3, 1×1 with a quarter of the outputs in between. Where the shape
    changes, x passes through a 1×1 convolution. drop_rate: share of samples whose branch is left out in training.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: bool = False, drop_rate: float = 0.0):
        super().__init__()
        inner = outputs // 4 if bottleneck else outputs
        layers = (
            [convolution(inputs, inner, 1), nn.ReLU(), convolution(inner, inner, 3, stride), nn.ReLU()]
            if bottleneck
            else [convolution(inputs, inner, 3, stride), nn.ReLU()]
        )
        self.branch = nn.Sequential(*layers, convolution(inner, outputs, 1 if bottleneck else 3))
        self.depth = StochasticDepth(drop_rate)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to x."""
        return F.relu(self.depth(self.branch(x)) + self.shortcut(x))


class Classifier(nn.Module):
    """(batch, width, h, w) → logits (batch, classes) of the mean over the picture: the last piece.

    dropout: share of the mean's numbers that are left out in training.
    """

    def __init__(self, width: int, classes: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Average, then one linear layer."""
        logits: Tensor = self.linear(self.dropout(torch.mean(features, dim=(2, 3))))
        return logits


class ResNet(nn.Module):
    """Pictures (batch, channels, h, w) → logits (batch, classes).

    widths, depths: outputs and number of blocks of each stage; each stage but the first halves the size.
    imagenet_stem: 7×7 convolution with stride 2 and a 3×3 maximum with stride 2 (published); else one 3×3 convolution
    with stride 2, which leaves small pictures large enough for the stages. stochastic_depth: drop rate of the last
    block's branch; it rises linearly over the blocks. dropout: see Classifier.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        widths: Sequence[int],
        depths: Sequence[int],
        bottleneck: bool = False,
        imagenet_stem: bool = False,
        stochastic_depth: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = 64 if imagenet_stem else widths[0]
        stem = [convolution(channels, width, 7 if imagenet_stem else 3, 2), nn.ReLU()]
        if imagenet_stem:
            stem.append(nn.MaxPool2d(3, 2, padding=1))
        self.stem = nn.Sequential(*stem)
        blocks: list[nn.Module] = []
        for stage, (outputs, depth) in enumerate(zip(widths, depths, strict=True)):
            for number in range(depth):
                rate = rate_at(len(blocks), sum(depths), stochastic_depth)
                blocks.append(Block(width, outputs, 2 if stage > 0 and number == 0 else 1, bottleneck, rate))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = Classifier(width, classes, dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [self.stem, *self.blocks, self.classifier]

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of the classes."""
        return in_turn(self.pieces(), pictures)
