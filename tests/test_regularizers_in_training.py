"""Regularizers in real trials: on any number of ranks what one process does, at the right place of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.measure.evaluation import evaluate
from harness.measure.training import Training, build_training
from harness.schema.record import Status
from tests.conftest import execute
from tests.test_contract_regularizers import SHORT, STOPS, trial_with

processes = pytest.mark.processes
BOTH = [{"name": "l1", "weight": 3e-3}, {"name": "l2", "weight": 3e-2}]
EMA = [{"name": "ema", "decay": 0.9}]


def built(regularizers: Any, rank: int = 0, ranks: int = 1, **changes: Any) -> Training:
    """A training of one process, which may believe to be one of several ranks that take different data."""
    training = build_training(trial_with(regularizers, **changes), 0, 1, 0)
    training.place = type(training.place)(training.device, rank, ranks)
    return training


# Penalties


def by_autograd(accumulation: int) -> tuple[list[torch.Tensor], list[torch.Tensor], float, float]:
    """Gradients before clipping of a step of so many micro-batches, and autograd's of mean loss + penalties."""
    training = built(BOTH, micro_batch=16 // accumulation, accumulation=accumulation)
    weights = [parameter for parameter in training.model.parameters() if parameter.ndim >= 2]
    batches = list(training.batches(0))
    loss = torch.stack([training.workload.loss(training.model, batch) for batch in batches]).mean()
    penalty = sum(3e-3 * w.abs().sum() + 3e-2 / 2 * w.square().sum() for w in weights)
    wanted = list(torch.autograd.grad(loss + penalty, list(training.model.parameters())))
    seen: list[torch.Tensor] = []

    def look(where: str) -> None:
        if where == "penalised":
            seen.extend(p.grad.clone() for p in training.model.parameters() if p.grad is not None)

    training.watch = look
    outcome = training.step()
    assert outcome.penalty is not None
    assert outcome.loss.item() == pytest.approx(loss.item(), rel=1e-6), "the loss is the data's alone"
    return seen, wanted, outcome.penalty.item(), torch.as_tensor(penalty).item()


@pytest.mark.parametrize("accumulation", [1, 4])
def test_gradient_is_that_of_loss_and_penalties(accumulation: int) -> None:
    seen, wanted, value, penalty = by_autograd(accumulation)
    assert value == pytest.approx(penalty, rel=1e-5)
    for mine, theirs in zip(seen, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_biases_are_not_penalised_and_a_weight_without_gradient_is() -> None:
    training = built(BOTH)
    assert training.penalties is not None
    assert {parameter.ndim for parameter in training.penalties.parameters} == {2}
    for parameter in training.model.parameters():
        parameter.grad = None
    training.penalties.add()
    assert all((p.grad is not None) == (p.ndim == 2) for p in training.model.parameters())


CELLS: list[tuple[Any, int, dict[str, Any]]] = [
    ("ddp", 2, {}),
    ("ddp", 2, {"micro_batch": 2, "accumulation": 4, "precision": "fp16"}),
    ("zero1", 2, {}),
    ("fsdp", 2, {}),
    ("fsdp", 2, {"precision": "fp16"}),
    ("hsdp", 4, {}),
    ("pipeline", 2, {"accumulation": 4, "model_ranks": 2}),
]


@processes
@pytest.mark.parametrize(("strategy", "ranks", "changes"), CELLS)
def test_penalties_and_mixing_are_what_one_process_has(strategy: Any, ranks: int, changes: dict[str, Any]) -> None:
    regularizers = [*BOTH, "mixup", *EMA]
    record, series = execute(trial_with(regularizers, strategy, ranks, **{**SHORT, **changes}))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    alone, own = execute(trial_with(regularizers, **{**SHORT, **changes, "precision": "fp32", "model_ranks": 1,
                                                     "accumulation": 16 // changes.get("micro_batch", 4)}))  # fmt: skip
    exact = changes.get("precision") is None
    wanted = pytest.approx(own.columns["penalty"], rel=1e-4 if exact else 2e-2)
    assert series.columns["penalty"] == wanted
    assert record.metrics["penalty"] == series.columns["penalty"][-1]
    assert record.metrics["eval_accuracy"] == pytest.approx(alone.metrics["eval_accuracy"], abs=0.0 if exact else 0.05)


@processes
def test_penalty_of_tied_and_divided_weights_is_counted_once() -> None:
    """gpt ties its embedding to its readout; tensor parallelism divides some of its layers, a pipeline all."""
    asked: dict[str, Any] = {"workload": "gpt", "size": "nano", "kind": "reference", "parity_steps": 2}
    _record, alone = execute(trial_with(BOTH, **asked), parity=False)
    for strategy, changes in (("tensor_parallel", {"accumulation": 4}), ("pipeline", {"accumulation": 4})):
        record, series = execute(trial_with(BOTH, strategy, 2, model_ranks=2, **asked, **changes), parity=False)
        assert record.status is Status.OK, record.reason
        assert series.columns["penalty"] == pytest.approx(alone.columns["penalty"], rel=1e-4)


FAULTS = [
    ("micro_batch", {}, Status.PARITY_FAILED, "gradient norm"),
    ("one_rank", {}, Status.NOT_APPLIED, "penalty_in_gradient: asked 0.98 to 1.02, found 0.5"),
    ("scaled", {"precision": "fp16"}, Status.PARITY_FAILED, "gradient norm"),
]


@processes
@pytest.mark.parametrize(("how", "changes", "status", "message"), FAULTS)
def test_penalties_in_the_wrong_place_are_seen(how: str, changes: dict[str, Any], status: Status, message: str) -> None:
    penalty = [{"name": "l2", "weight": 1.0}]
    record, _series = execute(trial_with(penalty, {"name": "misplaced", "how": how}, 2, **SHORT, **changes))
    assert record.status is status, record.reason
    assert message in (record.reason or "")
    right, _series = execute(trial_with(penalty, "ddp", 2, **SHORT, **changes))
    assert right.status is Status.OK, f"control: {right.reason}"


# Mixed samples


def test_mixed_samples_are_the_same_for_any_ranks_and_micro_batches() -> None:
    def step(ranks: int, micro_batch: int) -> list[torch.Tensor]:
        parts = []
        for rank in range(ranks):
            training = built(["mixup"], rank, ranks, micro_batch=micro_batch, accumulation=16 // ranks // micro_batch)
            parts += list(training.batches(3))
        return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]

    rows, labels = step(1, 16)
    for ranks, micro_batch in ((1, 4), (2, 8), (4, 2)):
        assert all(torch.equal(a, b) for a, b in zip((rows, labels), step(ranks, micro_batch), strict=True))
    assert torch.allclose(labels.sum(dim=1), torch.ones(16))
    plain = torch.cat([batch[0] for batch in built([]).batches(3)])
    mixture = built(["mixup"]).regularization.mix(0, 3, 16)  # type: ignore[misc]
    share = torch.from_numpy(mixture.share).float()[:, None]
    torch.testing.assert_close(rows, share * plain + (1 - share) * plain[mixture.partner])


def test_partners_are_others_and_shares_are_of_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0):
        mix = built([{"name": "mixup", "alpha": alpha}]).regularization.mix
        assert mix is not None
        mixture = mix(0, 0, 20000)
        assert (mixture.partner != np.arange(20000)).all()
        assert mixture.share.mean() == pytest.approx(0.5, abs=0.01)
        assert mixture.share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)
        assert not np.array_equal(mixture.share, mix(0, 1, 20000).share)
        assert np.array_equal(mixture.share, mix(0, 0, 20000).share)
        assert mix(0, 0, 2).partner.tolist() == [1, 0]


@processes
def test_shares_that_a_rank_draws_for_itself_fail_parity() -> None:
    record, _series = execute(trial_with(["mixes_by_rank"], "ddp", 2, **SHORT))
    assert record.status is Status.PARITY_FAILED


# An average of the weights


def test_average_is_the_formula_and_judged_alone() -> None:
    training, wanted = built(EMA), []
    for _ in range(4):
        training.step()
        wanted.append([parameter.detach().clone() for parameter in training.model.parameters()])
    means = wanted[0]
    for weights in wanted[1:]:
        means = [0.9 * mean + 0.1 * weight for mean, weight in zip(means, weights, strict=True)]
    plain = built([])
    for _ in range(4):
        plain.step()
    with torch.no_grad():
        for parameter, mean in zip(plain.model.parameters(), means, strict=True):
            parameter.copy_(mean)
    assert evaluate(training) == pytest.approx(evaluate(plain))
    with training.judged():
        for parameter, mean in zip(training.model.parameters(), means, strict=True):
            torch.testing.assert_close(parameter.detach(), mean)
    after = [parameter.detach() for parameter in training.model.parameters()]
    assert all(torch.equal(weight, kept) for weight, kept in zip(after, wanted[-1], strict=True))


SHARDED = {"name": "fsdp", "reshard_after_forward": False}


@processes
@pytest.mark.parametrize(("strategy", "ranks"), [("single", 1), (SHARDED, 2)])
def test_training_is_to_the_bit_that_without_an_average(strategy: Any, ranks: int) -> None:
    """Negative control: FSDP goes on with the average, where nobody frees what evaluation has gathered."""
    asked: dict[str, Any] = {"warmup_steps": 4, "steps": 4, "eval_every": 2}
    plain, one = execute(trial_with([], strategy, ranks, **asked), parity=False)
    averaged, other = execute(trial_with(EMA, strategy, ranks, **asked), parity=False)
    assert averaged.status is Status.OK, averaged.reason
    assert one.columns["loss"] == other.columns["loss"]
    assert [e.metrics for e in plain.evaluations] != [e.metrics for e in averaged.evaluations]
    if ranks > 1:
        _record, wrong = execute(trial_with(EMA, "keeps_gathered", ranks, **asked), parity=False)
        assert one.columns["loss"] != wrong.columns["loss"]


# Early stopping

STOP = [{"name": "early_stopping", "patience": 1, "min_delta": 0.5}]


@processes
def test_window_ends_early_on_all_ranks_and_its_figures_are_of_its_steps() -> None:
    """Evaluations after steps 6 and 9 count (5 are of parity): the second is no better by half."""
    alone, _series = execute(trial_with(STOP, **STOPS))
    for strategy, ranks in (("single", 1), ("ddp", 2)):
        record, series = execute(trial_with(STOP, strategy, ranks, **STOPS))
        assert record.status is Status.OK, record.reason
        noted = record.per_rank[0].facts["early_stopping"]
        assert (noted["stopped_step"], noted["best_step"]) == (9, 6)
        assert [evaluation.step for evaluation in record.evaluations] == [3, 6, 9]
        assert series.columns["timed"] == [0.0] * 6 + [1.0] * 3
        assert record.metrics["window_samples"] == 3 * 16
        rate = record.metrics["window_samples"] / record.metrics["window_s"]
        assert record.metrics["samples_per_s"] == pytest.approx(rate)
        assert record.metrics["best_accuracy"] == noted["best_value"] == record.evaluations[1].metrics["eval_accuracy"]
        assert record.metrics["eval_accuracy"] == record.evaluations[-1].metrics["eval_accuracy"]
        assert "gap_accuracy" in record.metrics, "the end has what comes only once"
        assert noted == alone.per_rank[0].facts["early_stopping"]


@processes
def test_window_is_whole_where_patience_suffices() -> None:
    record, series = execute(trial_with([{"name": "early_stopping", "patience": 6}], **STOPS))
    assert record.status is Status.OK, record.reason
    assert record.per_rank[0].facts["early_stopping"]["stopped_step"] is None
    assert sum(filter(None, series.columns["timed"])) == 18
    assert record.metrics["window_samples"] == 18 * 16


@processes
@pytest.mark.parametrize(("strategy", "ranks"), [("single", 1), ("fsdp", 2)])
def test_memory_has_the_average(strategy: str, ranks: int) -> None:
    """Of sharded parameters the peak itself varies, by when gathered ones are freed: one of three pairs shows it."""
    found = []
    for _pair in range(1 if ranks == 1 else 3):
        peaks = []
        for regularizers in ([], EMA):
            record, _series = execute(trial_with(regularizers, strategy, ranks, **SHORT), parity=False)
            peaks.append(record.metrics["peak_allocated_bytes"])
        found.append(ranks * (peaks[1] - peaks[0]) / (4 * record.metrics["parameters"]))
        if abs(found[-1] - 1) < (0.05 if ranks == 1 else 0.25):
            return
    raise AssertionError(f"the average's bytes ÷ those of the parameters: {found}")


@processes
def test_a_penalty_of_which_short_numbers_lose_a_part_is_applied() -> None:
    """bfloat16 gradients take up a part of it only, as they would of autograd's."""
    for penalty, status in (({"name": "l1", "weight": 1e-4}, Status.OK), ("penalises_nothing", Status.NOT_APPLIED)):
        record, _series = execute(trial_with([penalty], precision="bf16_weights", **SHORT))
        assert record.status is status, record.reason
