"""Speech to learn from: strings of three to five digits spoken by 26 voices of espeak-ng, 8 kHz, split by voice.

The voices are rules, not recordings: 20 variants in eight accents of English are trained on, 6 other variants are held
out. Strings that held-out voices say are said by no training voice: a string belongs to one split by its sha256.

Source: https://github.com/espeak-ng/espeak-ng (in the package espeakng-loader)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.workloads import synthesis
from harness.workloads.data import Arrays, cached, hash_arrays
from harness.workloads.synthesis import Samples, Utterance, synthesize

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
TRAIN_VARIANTS = ("m1", "f1", "m2", "f2", "m3", "f4", "m4", "f5", "m5", "Annie", "m7", "belinda", "Andy", "linda",
                  "Gene", "Lee", "Mike", "david", "edward", "norbert")  # fmt: skip
HELD_OUT_VARIANTS = ("m6", "f3", "Mario", "benjamin", "steph", "max")
SPEEDS, PITCHES = (150, 160, 170, 180, 190), (35, 45, 55, 65)
"""words per minute and pitch, each voice its own"""
TRAIN_STRINGS, HELD_OUT_STRINGS = 64, 16
"""said by each voice"""
HELD_OUT_OF_256 = 26
"""strings whose sha256 begins with a byte below it are held out: a tenth"""
SHORTEST, LONGEST = 3, 5
SILENCE = 64
"""samples not beyond it (of 32768) at both ends of an utterance are left out"""


@dataclass(frozen=True)
class Speech:
    """Utterances: samples, one after another (int16, 8 kHz), the length of each, and its digits, −1 after the last."""

    samples: Samples
    lengths: Samples
    digits: Samples

    def __iter__(self) -> Iterator[Samples]:
        """The samples of each utterance."""
        return iter(np.split(self.samples, np.cumsum(self.lengths)[:-1]))


@dataclass(frozen=True)
class SpokenDigits:
    """Both splits; data_hash: sha256 of all of it."""

    train: Speech
    held_out: Speech
    data_hash: str


def version() -> str:
    """Version of the package that speaks, and what it was built for: another build may say it otherwise."""
    return f"{importlib.metadata.version('espeakng-loader')} {platform.system()} {platform.machine()}"


def key() -> list[str]:
    """What the speech depends on, as a key of the cache for all that is made of it."""
    sources = (Path(__file__), Path(synthesis.__file__))
    return [version(), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in sources)]


def spoken_digits() -> SpokenDigits:
    """The speech, from the cache where it is there."""
    arrays = cached("spoken_digits", key(), prepare)
    parts = {split: Speech(*(arrays[f"{split}_{name}"] for name in ("samples", "lengths", "digits")))
             for split in ("train", "held_out")}  # fmt: skip
    return SpokenDigits(**parts, data_hash=hash_arrays(*arrays.values()))


def prepare() -> Arrays:
    """Let all voices speak, in one fresh process."""
    asked = {"train": utterances(TRAIN_VARIANTS, TRAIN_STRINGS, held_out=False),
             "held_out": utterances(HELD_OUT_VARIANTS, HELD_OUT_STRINGS, held_out=True)}  # fmt: skip
    spoken = iter(synthesize([_said(voice, string) for split in asked.values() for voice, string in split]))
    arrays: Arrays = {}
    for split, pairs in asked.items():
        trimmed = [without_silence(samples) for samples in itertools.islice(spoken, len(pairs))]
        arrays[f"{split}_samples"] = np.concatenate(trimmed)
        arrays[f"{split}_lengths"] = np.array([len(samples) for samples in trimmed], dtype=np.int64)
        arrays[f"{split}_digits"] = np.array([_padded(string) for _, string in pairs], dtype=np.int8)
    return arrays


Voice = tuple[str, int, int]
"""name, speed, pitch"""


def utterances(variants: tuple[str, ...], count: int, held_out: bool) -> list[tuple[Voice, str]]:
    """Voice and string of each utterance: every variant in one accent, at one speed and pitch, says `count` strings."""
    return [
        ((f"{ACCENTS[number % 8]}+{variant}", SPEEDS[number % 5], PITCHES[number % 4]), string)
        for number, variant in enumerate(variants)
        for string in itertools.islice(strings(variant, held_out), count)
    ]


def strings(variant: str, held_out: bool) -> Iterator[str]:
    """Strings of digits for a voice, without end: digits of sha256, those that belong to the split."""
    for number in itertools.count():
        drawn = hashlib.sha256(f"{variant} {number}".encode()).digest()
        length = SHORTEST + drawn[0] % (LONGEST - SHORTEST + 1)
        string = "".join(str(byte % 10) for byte in drawn[1 : 1 + length])
        if belongs_to_held_out(string) == held_out:
            yield string


def belongs_to_held_out(string: str) -> bool:
    """Whether a string is one of the tenth that only held-out voices say."""
    return hashlib.sha256(string.encode()).digest()[0] < HELD_OUT_OF_256


def without_silence(samples: Samples) -> Samples:
    """From the first to the last sample that is heard. Raises ValueError where none is."""
    heard = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENCE)
    if not len(heard):
        raise ValueError("an utterance without a sound")
    return samples[heard[0] : heard[-1] + 1]


def _said(voice: Voice, string: str) -> Utterance:
    return Utterance(*voice, " ".join(WORDS[int(digit)] for digit in string))


def _padded(string: str) -> list[Any]:
    return [*map(int, string), *[-1] * (LONGEST - len(string))]
