"""EfficientNets in their published shapes, made by the package transformers, with weights that train.

transformers draws the weights of BatchNorm from N(0, 0.02), as it draws all others: each block then gives almost
nothing on, and the network stays at the accuracy of a guess. Here they are drawn anew (see
`models.efficientnet.initialise`).
Its dropout of a block's result is of single numbers; here it is stochastic depth, as published.

Source: https://arxiv.org/abs/1905.11946
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import EfficientNetConfig, EfficientNetModel
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetBlock

from harness.workloads.models.efficientnet import Classifier, initialise
from harness.workloads.models.in_turn import in_turn
from harness.workloads.models.stochastic_depth import StochasticDepth, rate_at


def block_class() -> type[nn.Module]:
    """The class of the repeated layers."""
    found: type[nn.Module] = EfficientNetBlock
    return found


class PublishedEfficientNet(nn.Module):
    """Pictures (batch, channels, h, w) → logits (batch, classes).

    width, depth: coefficients that multiply channels and repeats of the base network; top: channels of the last
    convolution; stochastic_depth: drop rate of the last block, rising linearly; dropout: before the last layer.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width: float,
        depth: float,
        top: int,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        config = EfficientNetConfig(
            num_channels=channels,
            width_coefficient=width,
            depth_coefficient=depth,
            hidden_dim=top,
            batch_norm_momentum=0.01,  # transformers hands PyTorch what Keras calls momentum: 1 − this
        )
        made = EfficientNetModel(config)
        encoder = made.encoder
        self.stem = made.embeddings
        self.blocks = encoder.blocks
        for number, block in enumerate(self.blocks):
            projection = block.get_submodule("projection")
            projection.dropout = StochasticDepth(rate_at(number, len(self.blocks), stochastic_depth))
        self.top = nn.Sequential(encoder.top_conv, encoder.top_bn, encoder.top_activation)
        self.classifier = Classifier(top, classes, dropout)
        initialise(self)

    def pieces(self) -> list[nn.Module]:
        """Modules that make the whole forward pass when called one after another."""
        return [self.stem, *self.blocks, self.top, self.classifier]

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of the classes."""
        return in_turn(self.pieces(), pictures)
