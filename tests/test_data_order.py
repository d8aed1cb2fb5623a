"""Which samples a step trains on depends on (seed, step) alone, whatever the number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workloads.order import micro_batches, sample_indices

SEEDS = st.integers(0, 2**32)
SAMPLES = st.integers(1, 200)
BATCHES = st.integers(1, 64)


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, int, int]:
    """(global batch, micro-batch, ranks) that divide."""
    ranks, micro_batch, accumulation = (draw(st.integers(1, top)) for top in (8, 8, 4))
    return ranks * micro_batch * accumulation, micro_batch, ranks


@given(SEEDS, SAMPLES, BATCHES)
@settings(max_examples=50, deadline=None)
def test_an_epoch_has_each_sample_once(seed: int, samples: int, global_batch: int) -> None:
    steps = -(-2 * samples // global_batch)
    seen = np.concatenate([sample_indices(seed, step, global_batch, samples) for step in range(steps)])
    for epoch in range(2):
        assert sorted(seen[epoch * samples : (epoch + 1) * samples]) == list(range(samples))


@given(SEEDS, st.integers(0, 10_000), SAMPLES, BATCHES)
@settings(max_examples=50, deadline=None)
def test_a_step_needs_no_step_before_it(seed: int, step: int, samples: int, global_batch: int) -> None:
    alone = sample_indices(seed, step, global_batch, samples)
    for other in range(max(0, step - 3), step):
        sample_indices(seed, other, global_batch, samples)
    assert alone.dtype == np.int64
    assert alone.shape == (global_batch,)
    assert np.array_equal(alone, sample_indices(seed, step, global_batch, samples))


@given(SEEDS, SAMPLES, BATCHES, st.integers(1, 4), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_the_order_of_samples_does_not_depend_on_the_batch(
    seed: int, samples: int, batch: int, times: int, step: int
) -> None:
    large = sample_indices(seed, step, batch * times, samples)
    small = [sample_indices(seed, step * times + part, batch, samples) for part in range(times)]
    assert np.array_equal(large, np.concatenate(small))


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = {
        tuple(sample_indices(seed, epoch, 100, 100).tolist())
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    }
    assert len(orders) == 5
    assert tuple(range(100)) not in orders


def test_the_order_is_the_same_on_every_machine_and_version() -> None:
    assert sample_indices(0, 0, 8, 100).tolist() == [11, 92, 3, 20, 13, 2, 59, 53]
    assert sample_indices(7, 123, 8, 100).tolist() == [91, 29, 33, 93, 88, 20, 85, 72]


def test_the_callers_change_of_a_step_does_not_reach_the_next() -> None:
    first = sample_indices(3, 0, 10, 10)
    kept = first.copy()
    first[:] = -1
    assert np.array_equal(sample_indices(3, 0, 10, 10), kept)


@given(divisions(), st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_ranks_and_micro_batches_are_the_step(division: tuple[int, int, int], step: int) -> None:
    global_batch, micro_batch, ranks = division
    indices = sample_indices(0, step, global_batch, 1000)
    parts = [part for rank in range(ranks) for part in micro_batches(indices, rank, ranks, micro_batch)]
    assert np.array_equal(np.concatenate(parts), indices)
    assert {len(part) for part in parts} == {micro_batch}


@given(divisions())
@settings(max_examples=100, deadline=None)
def test_micro_batches_are_the_same_for_every_world_size(division: tuple[int, int, int]) -> None:
    global_batch, micro_batch, ranks = division
    indices = sample_indices(1, 0, global_batch, 1000)
    of_many = [tuple(part) for rank in range(ranks) for part in micro_batches(indices, rank, ranks, micro_batch)]
    of_one = [tuple(part) for part in micro_batches(indices, 0, 1, micro_batch)]
    assert of_many == of_one


def test_strided_shares_would_be_noticed() -> None:
    """Negative control: shares as DistributedSampler deals them give micro-batches that depend on the ranks."""
    indices = sample_indices(1, 0, 16, 1000)
    of_one = [tuple(part) for part in micro_batches(indices, 0, 1, 4)]
    strided = [tuple(indices[rank::2][first : first + 4]) for rank in range(2) for first in (0, 4)]
    assert strided != of_one


@pytest.mark.parametrize(("rank", "world_size", "micro_batch"), [(0, 3, 4), (0, 2, 3), (2, 2, 4), (-1, 2, 4)])
def test_what_does_not_divide_is_refused(rank: int, world_size: int, micro_batch: int) -> None:
    with pytest.raises(ValueError, match="16 samples do not divide"):
        micro_batches(np.arange(16), rank, world_size, micro_batch)


@pytest.mark.parametrize("wrong", [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0)])
def test_numbers_without_sense_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no samples"):
        sample_indices(*wrong)
