"""The second measurement of memory that figures are held against: bytes by address, ends of operations."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.bench_memory_kinds import worst
from benchmarks.profiled import MARK, STEPS, Held, composite, seen_by
from harness.monitors.memory import BYTES_BY_KIND

KIBIBYTE = 2**10


def test_blocks_are_added_up_and_given_back() -> None:
    held = Held()
    assert held.after(1000, 64) == 64
    assert held.after(2000, 32) == 96
    assert held.after(1000, -64) == 32
    assert held.after(5000, -16) == 32, "a block from before the profiler looked"


def test_a_block_whose_end_was_missed_is_gone_when_its_place_is_taken() -> None:
    held = Held()
    held.after(1000, 64)
    held.after(1064, 64)
    held.after(1200, 10)
    assert held.after(1050, 50) == 60, "the new one lies over the first two"
    assert held.after(1064, -64) == 60
    assert held.after(1050, -50) == 10


def test_operations_made_of_others_are_known() -> None:
    assert composite("aten::conv2d")
    assert not composite("aten::convolution")
    assert not composite("aten::nothing_of_this_name")


def test_scratch_inside_an_operation_is_told_from_tensors() -> None:
    """`median` works on a copy of its input, which is gone when it ends; the sum of two tensors is a third one."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = torch.ones(256, KIBIBYTE)
        for number in range(STEPS):
            with record_function(f"{MARK} {number}"):
                kept.median()
    one = kept.numel() * 4
    found = seen_by(profiler)
    assert one <= found["tensors"] < 1.1 * one
    assert 2 * one <= found["with_scratch"] < 2.1 * one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = torch.ones(256, KIBIBYTE)
        for number in range(STEPS):
            with record_function(f"{MARK} {number}"):
                (kept + kept).sum()
    found = seen_by(profiler)
    assert 2 * one <= found["tensors"] <= found["with_scratch"] < 2.1 * one


def test_ranks_that_hold_alike_are_judged_by_the_largest_ratio_and_others_apart() -> None:
    def rank(kinds: float, tensors: float) -> dict[str, float]:
        return {**dict.fromkeys(BYTES_BY_KIND, 0.0), BYTES_BY_KIND[0]: kinds * 2**20, "tensors": tensors * 2**20}

    assert worst([rank(10, 10), rank(10, 12)])[0] == 1
    assert worst([rank(10, 10), rank(10, 5)])[0] == 2
    assert worst([rank(10, 10), rank(4, 8)])[0] == 0.5, "another stage of a pipeline"
