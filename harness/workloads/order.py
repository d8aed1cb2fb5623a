"""Which samples a step trains on: decided by (seed, step) alone, never by the number of ranks.

epoch 0: a permutation of all samples      epoch 1: another one
|----step 0----|----step 1----|----step 2--:--|----step 3----| …      a step runs on into the next epoch
|rank 0 |rank 1|                                                      a rank's share is contiguous
| m | m | m | m |                                                     micro-batches: the same for any number of ranks
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.int64]


def sample_indices(seed: int, step: int, global_batch: int, samples: int) -> Indices:
    """Indices of the samples of one optimizer step (0-based), (global_batch,), in the order they are trained on.

    Positions step × global_batch to (step + 1) × global_batch of the epochs' permutations, one after the other: each
    sample is there once per epoch. Raises ValueError where a number makes no sense.
    """
    if seed < 0 or step < 0 or global_batch < 1 or samples < 1:
        raise ValueError(f"no samples for {seed=}, {step=}, {global_batch=}, {samples=}")
    first, end = step * global_batch, (step + 1) * global_batch
    parts = []
    while first < end:
        epoch, offset = divmod(first, samples)
        part = _permutation(seed, epoch, samples)[offset : offset + end - first]
        parts.append(part)
        first += len(part)
    return np.concatenate(parts)


def micro_batches(indices: Indices, rank: int, world_size: int, micro_batch: int) -> list[Indices]:
    """The rank's contiguous share of a step's indices, cut into micro-batches in order.

    Ranks and micro-batches one after the other are exactly `indices`, and the micro-batches are the same ones for every
    world size: what BatchNorm sees does not depend on it. Raises ValueError where the step does not divide.
    """
    share, rest = divmod(len(indices), world_size)
    if rest or share % micro_batch or not 0 <= rank < world_size:
        raise ValueError(f"{len(indices)} samples do not divide into {micro_batch=} for {rank=} of {world_size=}")
    mine = indices[rank * share : (rank + 1) * share]
    return [mine[first : first + micro_batch] for first in range(0, share, micro_batch)]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, samples: int) -> Indices:
    # Sorting the raw stream of a bit generator: NumPy promises that stream for all versions, and not the permutations.
    stream = np.random.PCG64(np.random.SeedSequence((seed, epoch))).random_raw(samples)
    order = np.argsort(stream, kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order
