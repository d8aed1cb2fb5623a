"""Parts of the measuring room that need no process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.machine.device import Device, open_device
from harness.measure.applied import NotApplied, check, compare, live_facts, watched_forward
from harness.measure.evaluation import evaluate
from harness.measure.session import overflow_steps
from harness.measure.steady import BLOCK, WARMUP_MAX, warmup_state
from harness.measure.training import Training, build_training
from harness.run.executors.local import jobs
from tests.conftest import make_trial


def built(rank: int = 0, **changes: Any) -> Training:
    """A training of one process, whatever rank it believes to be."""
    return build_training(make_trial(**changes), rank, 1, 0)


# warm-up

STEADY = [1.0] * (2 * BLOCK)


def test_warmup_ends_when_two_blocks_agree() -> None:
    state = warmup_state([9.0] * 5 + STEADY, unsettled=5)
    assert state is not None
    assert (state.steps, state.steady) == (15, True)


def test_warmup_goes_on_while_steps_get_faster() -> None:
    falling = [2.0 * 0.95**step for step in range(20)]
    assert warmup_state(falling, unsettled=0) is None


def test_warmup_does_not_look_at_the_steps_that_carry_the_checks() -> None:
    assert warmup_state(STEADY, unsettled=5) is None


def test_warmup_that_never_settles_ends_at_the_cap_and_says_so() -> None:
    jumping = [1.0 + (step // BLOCK) % 2 for step in range(WARMUP_MAX)]
    state = warmup_state(jumping, unsettled=0)
    assert state is not None
    assert not state.steady
    assert state.change is not None
    assert state.change > 0.1


def test_fixed_warmup_is_as_long_as_asked() -> None:
    assert warmup_state(STEADY, unsettled=0, fixed=11) is None
    state = warmup_state([*STEADY, 1.0], unsettled=0, fixed=11)
    assert state is not None
    assert state.steps == 11


# applied facts


def test_fact_that_was_asked_for_and_is_not_found_is_wrong() -> None:
    facts = {fact.fact: fact for fact in compare({"sharded": True, "local_share": (0.0, 0.6)}, {"local_share": 0.5})}
    assert not facts["sharded"].ok
    assert facts["local_share"].ok


def test_fact_outside_its_range_raises_with_all_facts() -> None:
    with pytest.raises(NotApplied, match=r"local_share: asked 0 to 0\.6, found 1") as caught:
        check({"local_share": (0.0, 0.6)}, {"local_share": 1.0, "threads": 1})
    assert {fact.fact for fact in caught.value.facts} == {"local_share", "threads"}


def test_facts_are_read_from_the_objects_and_not_from_what_was_asked() -> None:
    training = built()
    with watched_forward(training) as seen:
        training.step()
    assert seen["compute_dtype"] == "float32"
    assert live_facts(training)["parameter_dtype"] == "float32"
    training.model.half()
    assert live_facts(training)["parameter_dtype"] == "float16"


def test_watching_leaves_no_hook_behind() -> None:
    training = built()
    with watched_forward(training):
        training.step()
    assert not any(module._forward_hooks for module in training.model.modules())


# seeds


def test_ranks_start_from_the_same_weights_and_drop_out_different_neurons() -> None:
    first, second = (built(rank, workload={"name": "tiny", "dropout": 0.5}) for rank in (0, 1))
    for ours, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    rows = torch.ones(4, 16)
    outputs = []
    for rank in (0, 1, 0):
        training = built(rank, workload={"name": "tiny", "dropout": 0.5})
        outputs.append(training.model(rows))
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2]), "control: the same rank again drops out the same neurons"


# evaluation


def test_evaluation_of_batch_norm_depends_on_the_weights_alone() -> None:
    training = built(workload="normed")
    norm = next(module for module in training.plain.modules() if isinstance(module, nn.BatchNorm1d))
    training.step()
    right = evaluate(training)
    kept = norm.running_mean.clone()  # type: ignore[union-attr]
    norm.running_mean.add_(3.0)  # type: ignore[union-attr]
    norm.running_var.mul_(5.0)  # type: ignore[union-attr]
    assert evaluate(training) == right
    assert torch.equal(norm.running_mean, kept + 3.0)  # type: ignore[arg-type]
    assert norm.momentum == 0.1
    assert training.model.training


def test_running_averages_alone_would_judge_the_same_weights_differently() -> None:
    """Negative control of the test above: without new statistics the shifted averages change the result."""
    training = built(workload="normed")
    norm = next(module for module in training.plain.modules() if isinstance(module, nn.BatchNorm1d))
    training.model.eval()
    with torch.no_grad():
        before = training.workload.evaluate(training.model, training.workload.held_out)["error"][0]
        norm.running_mean.add_(3.0)  # type: ignore[union-attr]
        after = training.workload.evaluate(training.model, training.workload.held_out)["error"][0]
    assert not torch.isclose(before, after)


# gradient scaling


def test_steps_after_which_the_scale_fell_were_skipped() -> None:
    assert overflow_steps(8.0, [4.0, 4.0, 2.0, 4.0]) == [1, 3]
    assert overflow_steps(8.0, [8.0, 16.0]) == []


# devices and cores


def test_cpu_is_a_device_without_an_allocator() -> None:
    device = open_device("cpu", 3)
    assert type(device) is Device
    stamps = [device.stamp() for _ in range(3)]
    assert all(seconds >= 0 for seconds in device.seconds_between(stamps))
    assert len(device.seconds_between(stamps)) == 2
    assert device.peaks() == {}
    assert device.backend == "gloo"


def test_out_of_memory_on_cpu_is_told_from_other_runtime_errors() -> None:
    device = open_device("cpu", 0)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert device.is_out_of_memory(caught.value)
    assert not device.is_out_of_memory(RuntimeError("shapes do not match"))


def test_ranks_get_disjoint_shares_of_the_cores_and_no_fixed_slot() -> None:
    taken = set()
    for repeat in range(12):
        orders = jobs(make_trial("ddp", 2, repeat=repeat), [0, 1, 2, 3], Path("folder"))
        cores = [tuple(order.cores) for order in orders]
        assert sorted(core for share in cores for core in share) == [0, 1, 2, 3]
        assert [order.threads for order in orders] == [2, 2]
        taken.add(cores[0])
    assert len(taken) == 2


def test_one_process_gets_one_share_or_all_cores_as_asked() -> None:
    (order,) = jobs(make_trial(device_slots=2), [0, 1, 2, 3], Path("folder"))
    assert len(order.cores) == order.threads == 2
    (order,) = jobs(make_trial(device_slots=2, shares=2), [0, 1, 2, 3], Path("folder"))
    assert order.cores == [0, 1, 2, 3]
