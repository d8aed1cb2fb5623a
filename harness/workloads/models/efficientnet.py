"""EfficientNets for small pictures: inverted bottlenecks with depthwise convolutions and squeeze-and-excite.

Initialisation, of published ones too: kaiming (fan out, of one group) for convolutions, BatchNorm 1 and 0, biases 0.

Sources: https://arxiv.org/abs/1905.11946 (EfficientNet), https://arxiv.org/abs/1709.01507 (squeeze-and-excite)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.workloads.models.in_turn import in_turn
from harness.workloads.models.stochastic_depth import StochasticDepth, rate_at


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the size, and its BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class SqueezeExcite(nn.Module):
    """Each channel of (batch, channels, h, w) times a number from 0 to 1, computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels."""
        means = torch.mean(x, dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(self.activation(self.reduce(means))))


class Block(nn.Module):
    """One repeated layer, (batch, inputs, h, w) → (batch, outputs, h ÷ stride, w ÷ stride).

    1×1 to `expand` times as many channels (left out where that is 1), depthwise kernel×kernel, squeeze-and-excite to a
    quarter of the inputs, 1×1 to the outputs; x is added where the shape is the same.
    """

    def __init__(self, inputs: int, outputs: int, expand: int, kernel: int, stride: int, drop_rate: float = 0.0):
        super().__init__()
        inner = inputs * expand
        widened = [convolution(inputs, inner, 1), nn.SiLU()] if expand > 1 else []
        self.branch = nn.Sequential(
            *widened,
            convolution(inner, inner, kernel, stride, groups=inner),
            nn.SiLU(),
            SqueezeExcite(inner, max(1, inputs // 4)),
            convolution(inner, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs
        self.depth = StochasticDepth(drop_rate if self.adds else 0.0)  # a branch that stands alone cannot be left out

    def forward(self, x: Tensor) -> Tensor:
        """Apply the branch, and add x where that is possible."""
        branch: Tensor = self.branch(x)
        return x + self.depth(branch) if self.adds else branch


class Classifier(nn.Module):
    """(batch, width, h, w) → logits (batch, classes) of the mean over the picture: the last piece."""

    def __init__(self, width: int, classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Average, then one linear layer."""
        logits: Tensor = self.linear(self.dropout(torch.mean(features, dim=(2, 3))))
        return logits


class EfficientNet(nn.Module):
    """Pictures (batch, channels, h, w) → logits (batch, classes).

    stem, top: channels of the first and last convolution; stages: (expand, kernel, stride, outputs, repeats) of each,
    the stride that of its first block. stochastic_depth: drop rate of the last block; it rises linearly over the
    blocks. dropout: before the last layer.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        stem: int,
        stages: Sequence[tuple[int, int, int, int, int]],
        top: int,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(channels, stem, 3, 2), nn.SiLU())
        blocks: list[nn.Module] = []
        count, width = sum(stage[-1] for stage in stages), stem
        for expand, kernel, stride, outputs, repeats in stages:
            for number in range(repeats):
                rate = rate_at(len(blocks), count, stochastic_depth)
                blocks.append(Block(width, outputs, expand, kernel, stride if number == 0 else 1, rate))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(convolution(width, top, 1), nn.SiLU())
        self.classifier = Classifier(top, classes, dropout)
        initialise(self)

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [self.stem, *self.blocks, self.top, self.classifier]

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of the classes."""
        return in_turn(self.pieces(), pictures)


def initialise(model: nn.Module) -> None:
    """Draw the weights of a network of convolutions anew, so that it trains: see the module's first lines."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            module.reset_parameters()
