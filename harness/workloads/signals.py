"""Signals to learn to classify: MNIST-1D, 5000 lines of 40 points in 10 classes, made by the authors' own package.

Source: https://arxiv.org/abs/2011.14439
"""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from harness.workloads.data import Arrays, arrays_and_scores, cached

Values: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True)
class Signals:
    """Lines (n, 40), float32, and labels (n,), int64, in the authors' split; trivial: accuracy without a network."""

    train_lines: Values
    train_labels: Values
    held_out_lines: Values
    held_out_labels: Values
    trivial: dict[str, float]
    data_hash: str


def signals() -> Signals:
    """The signals, from the cache where they are there: the package is imported only when they are not."""
    arrays, baselines, data_hash = arrays_and_scores(cached("mnist1d", importlib.metadata.version("mnist1d"), prepare))
    return Signals(**arrays, trivial=baselines, data_hash=data_hash)


def prepare() -> Arrays:
    """Make the signals as published, and score the trivial baselines on the held-out ones.

    majority: always the most frequent class of the training signals; nearest_mean: the class whose mean training signal
    is nearest. The package's `get_dataset` is left alone: it downloads.
    """
    from mnist1d.data import get_dataset_args, make_dataset

    with _random_states_kept():  # the package seeds the generators of the whole process
        made = make_dataset(get_dataset_args())
    lines, labels = made["x"].astype(np.float32), made["y"].astype(np.int64)
    held_out, truth = made["x_test"].astype(np.float32), made["y_test"].astype(np.int64)
    means = np.stack([lines[labels == label].mean(axis=0) for label in np.unique(labels)])
    distances = ((held_out[:, None] - means) ** 2).sum(axis=-1)
    return {
        "train_lines": lines,
        "train_labels": labels,
        "held_out_lines": held_out,
        "held_out_labels": truth,
        "majority": np.mean(truth == np.bincount(labels).argmax()),
        "nearest_mean": np.mean(distances.argmin(axis=1) == truth),
    }


@contextmanager
def _random_states_kept() -> Iterator[None]:
    plain, numpys = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(numpys)
