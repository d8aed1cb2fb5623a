"""Characters to learn a language model from: the Python language reference that every Python carries in `pydoc_data`.

The topics stand in one another again (`while` is also a part of `compound`): cut up as it is, 37 % of the held-out
windows of 65 characters would also be in the training data. So each paragraph is taken once.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from harness.workloads.data import Arrays, cached, hash_arrays

Ids: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

PASSAGE = 1024
"""predictions in a passage; contexts that divide it use all of them"""
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Characters:
    """The text as ids of characters, cut into passages of 1025 that overlap nowhere and stand in one split only.

    vocabulary: number of different characters; train, held_out: (passages, 1025); unigram: (vocabulary,) and bigram:
    (vocabulary, vocabulary) counts in `train`; data_hash: sha256 of both splits.
    """

    vocabulary: int
    train: Ids
    held_out: Ids
    unigram: Ids
    bigram: Ids
    data_hash: str


def characters() -> Characters:
    """Return this Python's text, from the cache where it is there. Versions differ: the key is the build."""
    arrays = cached("pydoc_characters", sys.version, prepare)
    data_hash = hash_arrays(arrays["train"], arrays["held_out"])
    return Characters(vocabulary=len(arrays["unigram"]), data_hash=data_hash, **arrays)


def prepare() -> Arrays:
    """Read, deduplicate, cut and split the text; count characters and pairs of the training passages."""
    from pydoc_data.topics import topics

    return split("\n\n".join(topics[name] for name in sorted(topics)))


def split(text: str) -> Arrays:
    """Cut a text into passages and split them by content: a tenth, those whose sha256 are lowest, is held out.

    Paragraphs (and passages) that are the same but for white space are taken once. Characters beyond the last whole
    passage are left out.
    """
    unique = "\n\n".join({" ".join(paragraph.split()): paragraph for paragraph in text.split("\n\n")}.values())
    codes, ids = np.unique(np.frombuffer(unique.encode("utf-32-le"), dtype="<u4"), return_inverse=True)
    ids = ids.astype(np.min_scalar_type(len(codes) - 1))
    length = PASSAGE + 1
    passages = ids[: len(ids) // length * length].reshape(-1, length)
    by_content = {hashlib.sha256(passage.tobytes()).digest(): number for number, passage in enumerate(passages)}
    order = [number for _, number in sorted(by_content.items())]
    held = round(len(order) * HELD_OUT_SHARE)
    train = passages[sorted(order[held:])]
    return {
        "train": train,
        "held_out": passages[sorted(order[:held])],
        "unigram": np.bincount(train.ravel(), minlength=len(codes)),
        "bigram": pair_counts(train, len(codes)),
    }


def pair_counts(passages: Ids, vocabulary: int) -> Ids:
    """How often each character (column) follows each other one (row) within a passage, (vocabulary, vocabulary)."""
    pairs = passages[:, :-1].astype(np.int64) * vocabulary + passages[:, 1:]
    counts: Ids = np.bincount(pairs.ravel(), minlength=vocabulary**2).reshape(vocabulary, vocabulary)
    return counts


def windows(passages: Ids, context: int) -> Ids:
    """Samples of context + 1 ids, (windows, context + 1), int64: inputs and, one later, targets.

    Windows stay within a passage; the last id of one is the first of the next, so that each id is predicted once.
    """
    cut = np.lib.stride_tricks.sliding_window_view(passages, context + 1, axis=1)[:, ::context]
    return cut.reshape(-1, context + 1).astype(np.int64)


def evenly(samples: Ids, count: int) -> Ids:
    """`count` of the samples at even distances, the first and the last among them; all, where there are not more."""
    if len(samples) <= count:
        return samples
    return samples[np.linspace(0, len(samples) - 1, count).round().astype(np.int64)]


def trivial(data: Characters, samples: Ids) -> dict[str, float]:
    """Nats per character of predictors that know counts only: −mean ln p(target), each count one higher than found.

    unigram: p(target) by its frequency in the training passages; bigram: given the character before it.
    """
    inputs, targets = samples[:, :-1], samples[:, 1:]
    alone = (data.unigram + 1) / (data.unigram + 1).sum()
    after = (data.bigram + 1) / (data.bigram + 1).sum(axis=1, keepdims=True)
    return {
        "unigram": float(-np.log(alone[targets]).mean()),
        "bigram": float(-np.log(after[inputs, targets]).mean()),
    }
