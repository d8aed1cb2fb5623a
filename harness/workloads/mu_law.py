"""Passages of the spoken digits in mu-law: 256 levels that lie closer where a sound is quiet, as telephones have them.

level = round((sign(x) × ln(1 + 255 |x|) ÷ ln 256 + 1) ÷ 2 × 255) for x from −1 to 1.

Sources: https://www.itu.int/rec/T-REC-G.711 (the idea), https://arxiv.org/abs/1609.03499 (this form)
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.workloads import spoken_digits
from harness.workloads.data import Arrays, cached, hash_arrays
from harness.workloads.spoken_digits import Speech
from harness.workloads.synthesis import RATE, Samples

LEVELS = 256
FULL_SCALE = 32768
SILENT = 128
"""level of a sample that is 0"""
PASSAGE = 4096
"""predictions in a passage, half a second; crops whose length divides it use all of them"""


@dataclass(frozen=True)
class Passages:
    """One passage of each utterance in levels, (utterances, 4097), uint8.

    single: (256,) and pairs: (256, 256) counts of levels in `train`, rows the earlier one; data_hash: of both splits.
    """

    train: Samples
    held_out: Samples
    single: Samples
    pairs: Samples
    data_hash: str


def passages() -> Passages:
    """The passages, from the cache where they are there."""
    arrays = cached("spoken_digits_mu_law", spoken_digits.key(), prepare)
    return Passages(**arrays, data_hash=hash_arrays(arrays["train"], arrays["held_out"]))


def prepare() -> Arrays:
    """Cut a passage out of each utterance; count levels and pairs of them in the training passages."""
    data = spoken_digits.spoken_digits()
    train, held_out = cut(data.train), cut(data.held_out)
    pairs = train[:, :-1].astype(np.int64) * LEVELS + train[:, 1:]
    return {
        "train": train,
        "held_out": held_out,
        "single": np.bincount(train.ravel(), minlength=LEVELS),
        "pairs": np.bincount(pairs.ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS),
    }


def cut(speech: Speech) -> Samples:
    """One passage of each utterance, (utterances, 4097).

    Where it begins moves on by the golden ratio from utterance to utterance, so that all parts are there alike. Raises
    ValueError for an utterance shorter than a passage.
    """
    if speech.lengths.min() <= PASSAGE:
        raise ValueError(f"a passage of {PASSAGE + 1} samples from an utterance of {speech.lengths.min()}")
    taken = []
    for number, samples in enumerate(speech):
        first = int(number * (5**0.5 - 1) / 2 % 1 * (len(samples) - PASSAGE))
        taken.append(encode(samples[first : first + PASSAGE + 1]))
    return np.stack(taken)


def crops(levels: Samples, length: int) -> Samples:
    """Passages → samples of length + 1 levels, (crops, length + 1), uint8: inputs and, one later, targets.

    The last level of a crop is the first of the next, so that each is predicted once. Crops of silence (one level
    only, between two words) are left out: they are the same in both splits.
    """
    found: Samples = np.lib.stride_tricks.sliding_window_view(levels, length + 1, axis=1)[:, ::length]
    found = found.reshape(-1, length + 1)
    heard: Samples = found[found.min(axis=1) != found.max(axis=1)]
    return heard.copy()


def encode(samples: Samples) -> Samples:
    """int16 samples → levels from 0 to 255, uint8."""
    scaled = samples.astype(np.float64) / FULL_SCALE
    companded = np.sign(scaled) * np.log1p((LEVELS - 1) * np.abs(scaled)) / np.log(LEVELS)
    levels: Samples = np.rint((companded + 1) / 2 * (LEVELS - 1)).astype(np.uint8)
    return levels


def decode(levels: Samples) -> Samples:
    """Levels → int16 samples in the middle of each."""
    companded = levels.astype(np.float64) / (LEVELS - 1) * 2 - 1
    scaled = np.sign(companded) * np.expm1(np.abs(companded) * np.log(LEVELS)) / (LEVELS - 1)
    samples: Samples = np.clip(np.rint(scaled * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples


def write_wav(path: Path, samples: Samples) -> None:
    """Write int16 samples as a sound file, one channel, 8 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def trivial(data: Passages, samples: Samples) -> dict[str, float]:
    """Bits per sample of predictors that know counts only: −mean log2 p(target), each count one higher than found.

    unigram: p(target) by its frequency in the training passages; previous_sample: given the level before it.
    """
    inputs, targets = samples[:, :-1], samples[:, 1:]
    alone = (data.single + 1) / (data.single + 1).sum()
    after = (data.pairs + 1) / (data.pairs + 1).sum(axis=1, keepdims=True)
    return {
        "unigram": float(-np.log2(alone[targets]).mean()),
        "previous_sample": float(-np.log2(after[inputs, targets]).mean()),
    }
