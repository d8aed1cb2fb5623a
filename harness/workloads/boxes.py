"""How well boxes were found: mean average precision by pycocotools, the reference implementation of COCO's metrics.

Source: https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
OVERLAP = 0.5
"""intersection ÷ union from which on a box counts as found"""


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture: corners (n, 4) as x, y of the upper left and of the lower right corner, classes (n,)."""

    corners: Numbers
    classes: Numbers


@dataclass(frozen=True)
class FoundBoxes(Boxes):
    """Boxes that were found, with how sure each is (n,)."""

    scores: Numbers


def map50(found: Sequence[FoundBoxes], truth: Sequence[Boxes]) -> float:
    """Mean over classes of the average precision, a box being right where it overlaps a true one of its class by half.

    found, truth: by picture. Of a picture at most 100 boxes count. Classes without a true box count not.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        {**annotation, "score": float(score)}
        for number, boxes in enumerate(found, 1)
        for annotation, score in zip(_annotations(number, boxes), boxes.scores, strict=True)
    ]
    if not results:
        return 0.0
    annotations = [each for number, boxes in enumerate(truth, 1) for each in _annotations(number, boxes)]
    classes = sorted({each["category_id"] for each in (*annotations, *results)})
    with contextlib.redirect_stdout(io.StringIO()):  # the library tells of its progress by printing
        expected = COCO()
        expected.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(1, len(truth) + 1)],
            "categories": [{"id": number} for number in classes],
            "annotations": [{**each, "id": number, "iscrowd": 0} for number, each in enumerate(annotations, 1)],
        }
        expected.createIndex()
        evaluation = COCOeval(expected, expected.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([OVERLAP])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # recall levels, classes; −1: no true box
    return float(precision[precision > -1].mean())


def _annotations(number: int, boxes: Boxes) -> list[dict[str, Any]]:
    """Boxes of a picture as COCO writes them: x, y, width, height."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    return [
        {
            "image_id": number,
            "category_id": int(label),
            "bbox": [*map(float, corner[:2]), *map(float, side)],
            "area": float(side.prod()),
        }
        for corner, side, label in zip(boxes.corners, sides, boxes.classes, strict=True)
    ]
