"""Pictures to learn to classify: the handwritten digits inside scikit-learn, 1797 of 8×8 pixels in 10 classes.

Source: https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from harness.workloads.data import Arrays, arrays_and_scores, cached

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
HELD_OUT_SHARE = 0.2
WHITE = 16
"""largest value of a pixel"""


@dataclass(frozen=True)
class Digits:
    """Pictures (n, 8, 8), uint8 from 0 to 16, and labels (n,), int64; trivial: accuracy without a network.

    A fifth of each class, the pictures whose sha256 are lowest, is held out.
    """

    train_pictures: Pixels
    train_labels: Pixels
    held_out_pictures: Pixels
    held_out_labels: Pixels
    trivial: dict[str, float]
    data_hash: str


def digits() -> Digits:
    """The digits, from the cache where they are there: scikit-learn is imported only when they are not."""
    arrays, baselines, data_hash = arrays_and_scores(
        cached("digits", importlib.metadata.version("scikit-learn"), prepare)
    )
    return Digits(**arrays, trivial=baselines, data_hash=data_hash)


def prepare() -> Arrays:
    """Load and split the pictures; score the trivial baselines on the held-out ones.

    majority: always the most frequent class of the training pictures; logistic_regression: on the 64 pixels.
    """
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    loaded = load_digits()
    parts = split(loaded.images.astype(np.uint8), loaded.target.astype(np.int64))
    pixels, labels = parts["train_pictures"].reshape(-1, 64) / WHITE, parts["train_labels"]
    # BLAS threads on cores that others use wait for one another: 8 s were seen for what takes one thread a fraction.
    with threadpool_limits(1):
        linear = LogisticRegression(max_iter=1000).fit(pixels, labels)
    held_out = parts["held_out_labels"]
    return parts | {
        "majority": np.mean(held_out == np.bincount(labels).argmax()),
        "logistic_regression": np.mean(linear.predict(parts["held_out_pictures"].reshape(-1, 64) / WHITE) == held_out),
    }


def split(pictures: Pixels, labels: Pixels) -> Arrays:
    """Hold out the fifth of each class whose sha256 are lowest; a picture that is there twice is taken once."""
    by_content = {hashlib.sha256(picture.tobytes()).digest(): number for number, picture in enumerate(pictures)}
    order = np.array([number for _, number in sorted(by_content.items())])
    held_out, train = [], []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = round(len(members) * HELD_OUT_SHARE)
        held_out.append(members[:count])
        train.append(members[count:])
    held, kept = np.sort(np.concatenate(held_out)), np.sort(np.concatenate(train))
    return {
        "train_pictures": pictures[kept],
        "train_labels": labels[kept],
        "held_out_pictures": pictures[held],
        "held_out_labels": labels[held],
    }
