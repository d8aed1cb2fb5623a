"""Mixup: each sample mixed with another one of its step, labels too."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from harness.recipes.regularizers import Mixture, Regularizer, register
from harness.strategies import Setting

STREAM = 0x6D6978
"""Sets this stream of random numbers apart from those of the same seed that order samples."""


def _impossible(setting: Setting, **_options: object) -> str | None:
    return "mixup mixes samples of one step, and global_batch is 1" if setting.global_batch < 2 else None


@register("mixup", trait="classes", impossible=_impossible, source="https://arxiv.org/abs/1710.09412")
def mixup(*, alpha: Annotated[float, Field(ge=0.05)] = 0.2) -> Regularizer:
    """Sample ← λ·sample + (1 − λ)·another of its step, labels as probabilities alike; λ ~ Beta(alpha, alpha).

    Partner and λ are drawn for each sample by (seed, step, position in the global batch): the same for any number of
    ranks and any micro-batch. Held-out samples and what is evaluated stay as they are.
    """

    def mix(seed: int, step: int, samples: int) -> Mixture:
        from scipy.special import betaincinv

        # The raw stream of a bit generator: NumPy promises that for all versions, and not what is drawn from it.
        raw = np.random.PCG64(np.random.SeedSequence((seed, step, STREAM))).random_raw(2 * samples)
        further = 1 + (raw[:samples] % np.uint64(max(1, samples - 1))).astype(np.int64)
        uniform = (raw[samples:] >> np.uint64(11)) * 2.0**-53
        return Mixture((np.arange(samples) + further) % samples, betaincinv(alpha, alpha, uniform))

    return Regularizer(mix=mix)
