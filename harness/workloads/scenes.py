"""Scenes to find digits in: 64×64 pixels with one to three of MNIST's handwritten digits, and the boxes around them.

Scenes of training hold digits of MNIST's training part only, held-out ones the others only (see `mnist`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.workloads.boxes import Boxes, FoundBoxes, Numbers, map50
from harness.workloads.data import Arrays, arrays_and_scores, cached
from harness.workloads.mnist import mnist, version

SIDE = 64
MOST = 3
"""digits in a scene"""
SMALLEST, LARGEST = 20, 28
"""sides of the square that a digit's 28×28 pixels are shrunk to"""
INK = 64
"""a pixel of at least this value belongs to a digit: what its box is drawn around"""
SCENES = {"train": 4000, "held_out": 300}
TRIES = 8
"""places that are tried for a digit; one that overlaps others at all of them is left out"""
GUESSES = 10
"""boxes of the random baseline in each scene"""


@dataclass(frozen=True)
class Scenes:
    """Scenes (n, 64, 64), uint8; boxes (n, 3, 4), int64: x, y of the first pixel and of the one after the last; labels
    (n, 3), int64, −1 where there are fewer digits; trivial: map50 of boxes at random.
    """

    train_pictures: Numbers
    train_boxes: Numbers
    train_labels: Numbers
    held_out_pictures: Numbers
    held_out_boxes: Numbers
    held_out_labels: Numbers
    trivial: dict[str, float]
    data_hash: str


def scenes() -> Scenes:
    """The scenes, from the cache where they are there."""
    arrays, baselines, data_hash = arrays_and_scores(cached("scenes", version(), prepare))
    return Scenes(**arrays, trivial=baselines, data_hash=data_hash)


def prepare() -> Arrays:
    """Make all scenes, and score boxes at random on the held-out ones."""
    digits = mnist()
    arrays: Arrays = {}
    parts = {
        "train": (digits.train_pictures, digits.train_labels),
        "held_out": (digits.held_out_pictures, digits.held_out_labels),
    }
    for seed, (name, (pictures, labels)) in enumerate(parts.items()):
        made = [scene(pictures, labels, draws) for draws in _draws(seed, SCENES[name], 1 + MOST * (2 + 2 * TRIES))]
        for field, values in zip(("pictures", "boxes", "labels"), zip(*made, strict=True), strict=True):
            arrays[f"{name}_{field}"] = np.stack(values)
    truth = [
        Boxes(boxes[classes >= 0], classes[classes >= 0])
        for boxes, classes in zip(arrays["held_out_boxes"], arrays["held_out_labels"], strict=True)
    ]
    guesses = [random_boxes(draws) for draws in _draws(len(parts), len(truth), 6 * GUESSES)]
    return arrays | {"random_boxes": np.asarray(map50(guesses, truth))}


def _draws(seed: int, count: int, each: int) -> Iterator[Numbers]:
    """Random numbers of 64 bits, `each` of them `count` times: a stream that NumPy promises for all versions."""
    stream = np.random.PCG64(np.random.SeedSequence((64, seed))).random_raw(count * each)
    yield from (stream >> np.uint64(11)).astype(np.int64).reshape(count, each)


def scene(pictures: Numbers, labels: Numbers, draws: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """A scene of one to three digits whose boxes do not meet: pixels, boxes, labels.

    draws: how many digits; then, of each, which one, its size and places (x, y) to try.
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    boxes, found = np.zeros((MOST, 4), np.int64), np.full(MOST, -1, np.int64)
    count = 0
    for which, size, *places in draws[1:].reshape(MOST, -1)[: 1 + draws[0] % MOST]:
        number = which % len(pictures)
        digit = shrunk(pictures[number], SMALLEST + size % (LARGEST - SMALLEST + 1))
        height, width = digit.shape
        for x, y in np.array(places).reshape(TRIES, 2) % (SIDE - np.array([width, height]) + 1):
            box = np.array([x, y, x + width, y + height])
            others = boxes[:count]
            if not ((box[:2] <= others[:, 2:]) & (others[:, :2] <= box[2:])).all(axis=1).any():
                canvas[y : y + height, x : x + width] = digit
                boxes[count], found[count] = box, labels[number]
                count += 1
                break
    return canvas, boxes, found


def shrunk(picture: Numbers, side: int) -> Numbers:
    """A picture of 28×28 in `side` × `side` pixels (bilinear), cut to what is inked."""
    at = (np.arange(side) + 0.5) * (len(picture) / side) - 0.5
    low = np.clip(np.floor(at), 0, len(picture) - 2).astype(np.int64)
    share = at - low
    rows = picture[low] * (1 - share)[:, None] + picture[low + 1] * share[:, None]
    pixels = np.clip(np.round(rows[:, low] * (1 - share) + rows[:, low + 1] * share), 0, 255).astype(np.uint8)
    down, across = (np.flatnonzero((pixels >= INK).any(axis=axis)) for axis in (1, 0))
    cut: Numbers = pixels[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    return cut


def random_boxes(draws: Numbers) -> FoundBoxes:
    """Boxes that know only how large digits are: place, size, class and score at random."""
    x, y, width, height, label, score = draws.reshape(6, -1)
    first = np.stack((x, y), axis=1) % (SIDE - SMALLEST)
    sides = SMALLEST // 2 + np.stack((width, height), axis=1) % (LARGEST - SMALLEST // 2)
    return FoundBoxes(np.concatenate((first, first + sides), axis=1), label % 10, score / 2.0**53)
