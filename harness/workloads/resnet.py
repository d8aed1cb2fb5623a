"""Classification of pictures with a residual network."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Workload, register
from harness.workloads.classes import Rate, accuracy, cross_entropy
from harness.workloads.digits import WHITE, Pixels, digits

if TYPE_CHECKING:
    from torch import Tensor

BASIC = {"widths": (64, 128, 256, 512), "imagenet_stem": True}
BOTTLENECK = {"widths": (256, 512, 1024, 2048), "bottleneck": True, "imagenet_stem": True}
SIZES: dict[str, dict[str, Any]] = {
    "nano": {"widths": (16, 32), "depths": (1, 1)},
    "micro": {"widths": (16, 32, 64), "depths": (1, 1, 1)},
    "mini": {"widths": (16, 32, 64), "depths": (3, 3, 3)},
    "18": {"depths": (2, 2, 2, 2), **BASIC},
    "50": {"depths": (3, 4, 6, 3), **BOTTLENECK},
    "101": {"depths": (3, 4, 23, 3), **BOTTLENECK},
    "152": {"depths": (3, 8, 36, 3), **BOTTLENECK},
}
SCALE = 4
CLASSES = 10


@register(
    "resnet",
    sizes=SIZES,
    unit="image",
    metric="accuracy",
    better="higher",
    target=0.97,
    recipe=Recipe(
        optimizer="adamw",
        lr=3e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 20}),
        weight_decay=0.05,
        clip=1.0,
    ),
    global_batch=64,
    micro_batch=32,
    requires=("sklearn",),
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits (in scikit-learn)",
    licence="CC-BY-4.0",
    data_hashes={"*": "41e8f3c6e717051a2ae6a81df74fe573475cf8f30b2deb43ab6dc1899f86f3fd"},
    model=ModelFacts(
        traits=frozenset({"conv2d", "batchnorm", "classes"}),
        pieces=lambda model: model.pieces(),
        piece_count=lambda shape: sum(shape["depths"]) + 2,
    ),
)
def resnet(size: str, *, dropout: Rate = 0.0, stochastic_depth: Rate = 0.0, label_smoothing: Rate = 0.0) -> Workload:
    """Which of ten handwritten digits a picture shows, with a ResNet of 0.02 to 58 M parameters.

    The pictures of 8×8 pixels are enlarged to 32×32 (bilinear), one channel. nano, micro and mini run on a CPU: basic
    blocks behind a small stem. 18, 50, 101 and 152 are the published networks with 10 classes (11.2, 23.5, 42.5 and
    58.1 M parameters; with one channel for three the first convolution has 6272 fewer). The target is for micro.
    All held-out pictures are evaluated.
    dropout: of the picture's mean, which the last layer reads; stochastic_depth: largest share of samples that skip a
    block in training, reached at the last block;
    label_smoothing: share of the training target that is spread over all classes.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    from harness.workloads.models.resnet import Block, ResNet

    data = digits()
    asked: dict[str, Any] = {
        "channels": 1,
        "classes": CLASSES,
        "dropout": dropout,
        "stochastic_depth": stochastic_depth,
    }
    return Workload(
        build=lambda: ResNet(**asked, **SIZES[size]),
        train=(enlarge(data.train_pictures), torch.from_numpy(data.train_labels)),
        held_out=(enlarge(data.held_out_pictures), torch.from_numpy(data.held_out_labels)),
        loss=cross_entropy(label_smoothing),
        evaluate=accuracy,
        blocks=(Block,),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=importlib.metadata.version("scikit-learn"),
        classes=CLASSES,
    )


def enlarge(pictures: Pixels) -> Tensor:
    """(n, 8, 8) pixels from 0 to 16 → (n, 1, 32, 32) from 0 to 1, bilinear."""
    import torch
    from torch.nn import functional

    scaled = torch.from_numpy(pictures).unsqueeze(1).float() / WHITE
    return functional.interpolate(scaled, scale_factor=float(SCALE), mode="bilinear", align_corners=False)
