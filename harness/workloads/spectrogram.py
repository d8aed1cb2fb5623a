"""Log-spectrograms of the spoken digits, made once while preparing: all processes train on the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from harness.workloads import spoken_digits
from harness.workloads.character_errors import character_errors
from harness.workloads.data import Arrays, cached
from harness.workloads.spoken_digits import Speech
from harness.workloads.synthesis import Samples

HOP, WINDOW = 80, 160
"""samples from frame to frame (10 ms) and in a frame's Hann window (20 ms, or as many as the bins take)"""
FLOOR = 1e-2
"""added to the magnitude before the logarithm, with samples from −1 to 1: the noise of 8 bits is below it"""


@dataclass(frozen=True)
class Spectrograms:
    """Of one split. values: (utterances, frames, bins), float16, padded with what silence gives; lengths: samples of
    each utterance; digits: (utterances, 5), −1 after the last.

    Over all that is spoken in training, the mean is 0 and the deviation 1.
    """

    values: Samples
    lengths: Samples
    digits: Samples

    @property
    def frames(self) -> Samples:
        """Spoken frames of each utterance: those whose middle is within it."""
        return self.lengths // HOP + 1


@dataclass(frozen=True)
class SpokenSpectrograms:
    """Both splits; trivial: character error rates without a network (see `trivial`).

    data_hash: of the speech, not of what is made of it: sines and logarithms differ by machine in their last bit.
    """

    train: Spectrograms
    held_out: Spectrograms
    trivial: dict[str, float]
    data_hash: str


def spectrograms(bins: int) -> SpokenSpectrograms:
    """The spectrograms with so many bins, from the cache where they are there."""
    arrays = cached("spoken_digits_spectrogram", [bins, *spoken_digits.key()], lambda: prepare(bins))
    train, held_out = (
        Spectrograms(*(arrays[f"{split}_{name}"] for name in ("values", "lengths", "digits")))
        for split in ("train", "held_out")
    )
    baselines = {name: float(arrays[name]) for name in ("blank", "most_frequent_string")}
    return SpokenSpectrograms(train, held_out, baselines, arrays["data_hash"].tobytes().hex())


def prepare(bins: int) -> Arrays:
    """Compute both splits' spectrograms and the trivial baselines."""
    data = spoken_digits.spoken_digits()
    longest = max(data.train.lengths.max(), data.held_out.lengths.max())
    train, held_out = (log_spectrogram(part, longest, bins) for part in (data.train, data.held_out))
    spoken = train[np.arange(train.shape[1]) < (data.train.lengths // HOP + 1)[:, None]]
    mean, deviation = spoken.mean(dtype=np.float64), spoken.std(dtype=np.float64)
    arrays: Arrays = {"data_hash": np.frombuffer(bytes.fromhex(data.data_hash), dtype=np.uint8)}
    for split, part, values in (("train", data.train, train), ("held_out", data.held_out, held_out)):
        arrays[f"{split}_values"] = ((values - mean) / deviation).astype(np.float16)
        arrays[f"{split}_lengths"], arrays[f"{split}_digits"] = part.lengths, part.digits
    baselines = trivial(as_strings(data.train.digits), as_strings(data.held_out.digits))
    return arrays | {name: np.array(value) for name, value in baselines.items()}


def log_spectrogram(speech: Speech, longest: int, bins: int) -> Samples:
    """ln(|STFT| + floor) of utterances padded with silence to so many samples: (utterances, frames, bins), float32."""
    import torch

    points = 2 * (bins - 1)
    window = torch.hann_window(min(WINDOW, points))
    made = []
    for samples in speech:
        padded = torch.zeros(longest)
        padded[: len(samples)] = torch.from_numpy(samples.astype(np.float32) / 32768)
        transformed = torch.stft(padded, points, HOP, len(window), window, pad_mode="constant", return_complex=True)
        made.append((transformed.abs() + FLOOR).log().T.numpy())
    return np.stack(made)


def as_strings(digits: Samples) -> list[str]:
    """Rows of digits as strings; −1 is none."""
    return ["".join(str(digit) for digit in row if digit >= 0) for row in digits]


def trivial(train: list[str], held_out: list[str]) -> dict[str, float]:
    """Character error rates of predictors that hear nothing.

    blank: the empty string; most_frequent_string: always the training string that is said most (of several the least).
    """
    counts = Counter(train)
    most_frequent = min(counts, key=lambda string: (-counts[string], string))
    rates = {}
    for name, guess in (("blank", ""), ("most_frequent_string", most_frequent)):
        edits, characters = character_errors(held_out, [guess] * len(held_out))
        rates[name] = edits / characters
    return rates
