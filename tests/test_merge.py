"""One record of all ranks: rates, reductions, who is to blame, parity. Each rule has a planted fault it must see."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.parity import TOLERANCES, check_parity, loosest
from harness.run import merge as merging
from harness.run.blame import blame
from harness.run.merge import merge
from harness.schema.record import Phase, RankResult, Record, Status, StepSeries
from tests.trials import a_rank, a_trial


def reference(**series: Any) -> tuple[Record, StepSeries]:
    """The reference of `a_rank`'s two-rank training: the mean loss of both ranks, the whole gradient's norm."""
    trial = a_trial(kind="reference", strategy="single", devices=1, processes=1, accumulation=2)
    columns = {**a_rank().series, "loss": [value + 0.1 for value in a_rank().series["loss"] if value], **series}
    return merge(trial, [a_rank(series=columns)], None, started_at=0.0, ended_at=1.0)


def merged(*ranks: RankResult, **options: Any) -> Record:
    """The record of a two-rank trial."""
    known: dict[str, Any] = {"reference": reference(), "started_at": 100.0, "ended_at": 102.5, **options}
    return merge(a_trial(), ranks or (a_rank(0), a_rank(1)), **known)[0]


# Rates and reductions


def assert_true_rate(record: Record) -> None:
    """64 samples of both ranks in the 0.48 s of the slower one, 64 tokens each."""
    assert record.metrics["samples_per_s"] == pytest.approx(64 / 0.48)
    assert record.metrics["tokens_per_s"] == pytest.approx(64 * 64 / 0.48)


def test_the_rate_is_samples_of_all_ranks_over_seconds_of_the_slowest() -> None:
    record = merged()
    assert record.status is Status.OK
    assert_true_rate(record)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda values: values[0],  # samples of one rank only
        lambda values: sum(values) / len(values),  # a mean over ranks
        lambda values: values[0] * 4,
    ],
)
def test_a_rate_of_one_rank_or_a_mean_is_seen(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    monkeypatch.setattr(merging.math, "fsum", wrong)
    with pytest.raises(AssertionError):
        assert_true_rate(merged())


def test_a_mean_of_the_ranks_rates_is_seen() -> None:
    rates = [rank.metrics["window_samples"] / rank.metrics["window_s"] for rank in (a_rank(0), a_rank(1))]
    assert sum(rates) != pytest.approx(64 / 0.48, rel=0.01)
    assert sum(rates) / 2 != pytest.approx(64 / 0.48, rel=0.01)


def test_each_metric_is_reduced_by_its_rule() -> None:
    metrics = merged().metrics
    assert metrics["step_s"] == pytest.approx(0.12)
    assert metrics["window_s"] == pytest.approx(0.48)
    assert metrics["step_cpu_s"] == pytest.approx(0.18)
    assert metrics["harness_cpu_s"] == pytest.approx(0.4)
    assert metrics["window_samples"] == 64
    assert metrics["data_wait_s"] == pytest.approx(0.002)
    assert metrics["peak_allocated_bytes"] == 1001
    assert metrics["memory_parameters_bytes"] == 399, "of the rank whose peak is shown, not the largest of each kind"
    assert metrics["parameters"] == 1234
    assert metrics["first_step_s"] == pytest.approx(1.3)
    assert metrics["trial_s"] == pytest.approx(2.5)
    assert metrics["warmup_steps"] == 2
    assert metrics["loss"] == pytest.approx(1.6)
    assert metrics["grad_norm"] == 1.5
    assert metrics["eval_loss"] == 1.5


def test_overhead_is_what_is_left_of_the_trial() -> None:
    ranks = [a_rank(rank, facts={**a_rank().facts, "training_wall_s": 1.5 + rank * 0.25}) for rank in (0, 1)]
    assert merged(*ranks).metrics["harness_overhead_s"] == pytest.approx(0.75)
    assert "harness_overhead_s" not in merged().metrics


def test_series_are_reduced_by_step() -> None:
    ranks = [a_rank(0), a_rank(1)]
    ranks[1].series["grad_norm"] = [9.0] * 6
    columns = merge(a_trial(), ranks, reference(), started_at=0.0, ended_at=1.0)[1].columns
    assert columns["loss"] == pytest.approx([4.1, 3.6, 3.1, 2.6, 2.1, 1.6])
    assert columns["grad_norm"] == a_rank().series["grad_norm"]
    assert columns["step_s"] == pytest.approx([0.12] * 6)
    assert columns["cpu_s"] == pytest.approx([0.18] * 6)
    assert columns["timed"] == [0, 0, 1, 1, 1, 1]


def test_series_end_where_the_first_rank_ended() -> None:
    short = a_rank(1)
    short.series = {name: values[:4] for name, values in short.series.items()}
    columns = merge(a_trial(), [a_rank(0), short], None, started_at=0.0, ended_at=1.0)[1].columns
    assert {len(values) for values in columns.values()} == {4}


def test_a_figure_that_one_rank_lacks_is_left_out() -> None:
    lacking = a_rank(1)
    del lacking.metrics["harness_cpu_s"]
    del lacking.metrics["peak_allocated_bytes"]
    metrics = merged(a_rank(0), lacking).metrics
    assert "harness_cpu_s" not in metrics
    assert "peak_allocated_bytes" not in metrics


@pytest.mark.parametrize(
    ("better", "target", "step", "seconds"),
    [("lower", 1.9, 3, 0.3), ("lower", 1.6, 6, 0.6), ("lower", 1.0, None, None), ("higher", 1.95, None, None)],
)
def test_target_is_the_first_evaluation_that_reaches_it(
    better: str, target: float, step: float | None, seconds: float | None
) -> None:
    facts = {**a_rank().facts, "better": better, "target": target}
    metrics = merged(a_rank(0, facts=facts), a_rank(1)).metrics
    assert metrics.get("steps_to_target") == step
    assert metrics.get("time_to_target_s") == seconds


def test_the_record_holds_no_metric_that_the_dictionary_does_not_know() -> None:
    rank = a_rank(0, metrics={**a_rank().metrics, "splendour": 3.0})
    assert "splendour" not in merged(rank, a_rank(1)).metrics


def test_ranks_are_kept_without_their_series() -> None:
    record = merged()
    assert [rank.rank for rank in record.per_rank] == [0, 1]
    assert all(rank.series == {} for rank in record.per_rank)
    assert record.warmup is not None
    assert record.warmup.steps == 2


# Who is to blame

COMMUNICATION = "RuntimeError: [/pytorch/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:34321"
RESET = "RuntimeError: Connection reset by peer"
NCCL = "DistBackendError: NCCL error in ProcessGroupNCCL.cpp:1234, remote process exited"
WAITED = "RuntimeError: Timed out waiting 5000ms for recv operation to complete"

HOROVOD = "HorovodInternalError: Horovod has been shut down. This was caused by an exception on one of the ranks"


@pytest.mark.parametrize("peer", [COMMUNICATION, RESET, NCCL, WAITED, HOROVOD])
def test_the_rank_that_died_is_named_not_its_peer_with_an_error_of_communication(peer: str) -> None:
    for victim in (0, 1):
        other = a_rank(1 - victim, error=peer, exit_code=1, phase=Phase.TIMED)
        dead = a_rank(victim, exit_code=-9, signal="SIGKILL", phase=Phase.WARMUP)
        record = merged(*sorted((other, dead), key=lambda rank: rank.rank))
        assert record.status is Status.CRASHED
        assert record.reason == f"rank {victim}: killed by SIGKILL (the kernel does so when memory runs out)"
        assert record.phase is Phase.WARMUP


@pytest.mark.parametrize("victim", [0, 1])
def test_an_error_of_its_own_outranks_signals_of_peers(victim: int) -> None:
    dead = a_rank(victim, error="ValueError: no such layer", exit_code=1)
    aborted = a_rank(1 - victim, exit_code=-6, signal="SIGABRT", stderr_tail="terminate called …")
    assert merged(dead, aborted).reason == f"rank {victim}: ValueError: no such layer"


@pytest.mark.parametrize("victim", [0, 1])
def test_a_peer_that_the_executor_ended_is_not_to_blame(victim: int) -> None:
    died = a_rank(victim, exit_code=-11, signal="SIGSEGV")
    ended = a_rank(1 - victim, exit_code=-9, signal="SIGKILL", facts={"ended_by": "executor"})
    assert merged(died, ended).reason == f"rank {victim}: killed by SIGSEGV"


def test_errors_of_communication_alone_are_still_a_crash() -> None:
    record = merged(a_rank(0, error=COMMUNICATION, exit_code=1), a_rank(1, error=RESET, exit_code=1))
    assert record.status is Status.CRASHED
    assert record.reason is not None
    assert record.reason.startswith("rank 0: RuntimeError")


@pytest.mark.parametrize("status", [Status.OOM, Status.NOT_APPLIED, Status.DIVERGED, Status.UNSUPPORTED])
def test_what_a_rank_knows_of_itself_outranks_everything(status: Status) -> None:
    knows = a_rank(1, status=status, error="it says\nso", exit_code=1, phase=Phase.BUILD)
    for other in (a_rank(0, exit_code=-9, signal="SIGKILL"), a_rank(0, error="ValueError: x", exit_code=1)):
        record = merged(other, knows)
        assert (record.status, record.reason, record.phase) == (status, "rank 1: it says so", Phase.BUILD)


def test_exit_code_without_an_error_shows_its_last_words() -> None:
    record = merged(a_rank(0), a_rank(1, exit_code=3, stderr_tail="one\nlibfoo: cannot open\n\n"))
    assert record.reason == "rank 1: ended with exit code 3: libfoo: cannot open"


def test_timeout_names_where_the_ranks_were() -> None:
    killed = [
        a_rank(rank, exit_code=-9, signal="SIGKILL", phase=phase)
        for rank, phase in enumerate((Phase.TIMED, Phase.WARMUP))
    ]
    record = merged(*killed, ended="timeout")
    assert record.status is Status.TIMEOUT
    assert record.reason == "not ended after 300 s (rank 0 in timed, rank 1 in warmup)"
    assert record.phase is Phase.WARMUP
    assert record.metrics["step_s"] > 0, "what was measured until then is kept"


def test_a_crash_that_left_its_peer_hanging_is_no_timeout() -> None:
    hung = a_rank(0, exit_code=-9, signal="SIGKILL", phase=Phase.TIMED)
    record = merged(hung, a_rank(1, error="KeyError: 'x'", exit_code=1), ended="timeout")
    assert (record.status, record.reason) == (Status.CRASHED, "rank 1: KeyError: 'x'")
    record = merged(hung, a_rank(1, error=COMMUNICATION, exit_code=1), ended="timeout")
    assert record.status is Status.TIMEOUT


def test_interrupted_whatever_the_ranks_say() -> None:
    record = merged(a_rank(0, exit_code=-9, signal="SIGKILL"), a_rank(1), ended="interrupt")
    assert record.status is Status.INTERRUPTED


def test_no_rank_at_all() -> None:
    assert merge(a_trial(), [], None, started_at=0.0, ended_at=1.0)[0].reason == "rank 0, 1 left no result"
    timeout = merge(a_trial(), [], None, ended="timeout", started_at=0.0, ended_at=1.0)[0]
    assert timeout.reason == "not ended after 300 s (no rank had started)"


def test_a_missing_rank_is_named() -> None:
    record = merged(a_rank(0))
    assert (record.status, record.reason) == (Status.CRASHED, "rank 1 left no result")
    assert "samples_per_s" not in record.metrics, "one rank's samples are no rate of the trial"


def test_ended_well_but_without_figures() -> None:
    record = merged(a_rank(0, metrics={}), a_rank(1, metrics={}))
    assert record.status is Status.CRASHED
    assert record.reason is not None
    assert record.reason.startswith("ended without figures: step_s")


def test_a_fact_that_is_not_as_asked_is_not_applied_even_if_the_rank_did_not_say_so() -> None:
    wrong = [{"fact": "compute_dtype", "asked": "bfloat16", "found": "float32", "ok": False}]
    record = merged(a_rank(0), a_rank(1, applied=wrong))
    assert (record.status, record.reason) == (Status.NOT_APPLIED, "compute_dtype: asked bfloat16, found float32")
    assert [fact.fact for fact in record.applied] == ["threads", "compute_dtype"]


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_loss_that_is_not_finite_on_any_rank_is_divergence(bad: float | None) -> None:
    sick = a_rank(1)
    sick.series["loss"][3] = bad
    record = merged(a_rank(0), sick)
    assert record.status is Status.DIVERGED
    assert record.reason == "loss is not finite at step 4; last finite loss 3.1"


# Parity


def test_equal_training_passes_and_figures_are_kept() -> None:
    parity = merged().parity
    assert parity is not None
    assert parity.status == "passed"
    assert parity.steps == 5
    assert parity.loss_error is not None
    assert parity.loss_error < 1e-12


def test_gradients_summed_instead_of_averaged_fail_though_the_loss_is_equal() -> None:
    doubled = [a_rank(rank) for rank in (0, 1)]
    for rank in doubled:
        rank.series["grad_norm"] = [2 * value for value in rank.series["grad_norm"] if value is not None]
    record = merged(*doubled)
    assert record.status is Status.PARITY_FAILED
    assert record.reason is not None
    assert record.reason.startswith(
        "gradient norm 2 against 1 of one process in fp32 at step 1: relative difference 1,"
    )
    assert record.phase is Phase.PARITY
    assert_true_rate(record)
    assert record.parity is not None
    assert record.parity.loss_error is not None
    assert record.parity.loss_error < 1e-12, "the loss alone would not have seen it"


def test_a_loss_that_drifts_fails() -> None:
    record = merged(reference=reference(loss=[4.1, 3.6, 3.1, 2.6 * 1.001, 2.1, 1.6]))
    assert record.status is Status.PARITY_FAILED
    assert record.reason is not None
    assert record.reason.startswith("loss 2.6 against 2.6026")
    assert "at step 4" in record.reason


def test_steps_after_the_parity_steps_do_not_count() -> None:
    assert merged(reference=reference(loss=[4.1, 3.6, 3.1, 2.6, 2.1, 99.0])).status is Status.OK


def test_an_approximate_precision_is_allowed_more() -> None:
    drifted = reference(loss=[4.1, 3.6, 3.1, 2.6 * 1.001, 2.1, 1.6])
    facts = {**a_rank().facts, "equivalence": "approximate"}
    assert merged(a_rank(0, facts=facts), a_rank(1), reference=drifted).status is Status.OK


@pytest.mark.parametrize("missing", ["none", "crashed", "no series"])
def test_without_a_reference_nothing_is_claimed(missing: str) -> None:
    record, series = reference()
    crashed = record.model_copy(update={"status": Status.OOM, "reason": "rank 0: out of memory"})
    given_reference = {"none": None, "crashed": (crashed, series), "no series": (record, None)}[missing]
    found = merged(reference=given_reference)
    assert found.status is Status.OK
    assert found.parity is not None
    assert found.parity.status == "unchecked"
    assert found.parity.reason is not None
    assert ("OOM rank 0: out of memory" in found.parity.reason) == (missing == "crashed")


def test_a_reference_has_no_parity_and_needs_no_timed_figures() -> None:
    record, series = reference()
    assert (record.status, record.parity) == (Status.OK, None)
    assert series.columns["loss"] == pytest.approx([4.1, 3.6, 3.1, 2.6, 2.1, 1.6])
    trial = a_trial(kind="reference", processes=1)
    empty = merge(trial, [a_rank(0, metrics={}, series={})], None, started_at=0.0, ended_at=1.0)[0]
    assert (empty.status, empty.reason) == (Status.CRASHED, "ended without figures: loss")


def test_comparison_ends_at_the_first_skipped_step() -> None:
    """fp16: the second update overflowed and was left out, so the third loss is of other weights."""
    columns = a_rank().series
    series = {
        **columns,
        "loss": [4.1, 3.6, 3.6, 3.1, 2.6, 2.1],
        "grad_norm": [1.0, None, 1.1, 1.2, 1.3, 1.4],
        "loss_scale": [65536.0, 32768.0, 32768.0, 32768.0, 32768.0, 32768.0],
    }
    facts = {**a_rank().facts, "equivalence": "approximate"}
    trial = a_trial(processes=1, devices=1, precision="fp16")
    record = merge(trial, [a_rank(series=series, facts=facts)], reference(), started_at=0.0, ended_at=1.0)[0]
    assert record.parity is not None
    assert (record.parity.status, record.parity.steps) == ("passed", 2)
    del series["loss_scale"]
    blind = merge(trial, [a_rank(series=series, facts=facts)], reference(), started_at=0.0, ended_at=1.0)[0]
    assert blind.status is Status.PARITY_FAILED, "control: without the skipped step the losses do differ"


def test_parity_without_any_gradient_norm_is_not_passed() -> None:
    found = check_parity([1.0, 0.5], [None, None], [1.0, 0.5], [1.0, 1.0], "exact")
    assert (found.status, found.reason) == ("unchecked", "no step has both a loss and a gradient norm to compare")
    assert check_parity([], [], [], [], "exact").status == "unchecked"


def test_parity_of_a_loss_that_is_not_finite_fails() -> None:
    found = check_parity([1.0, math.nan], [1.0, 1.0], [1.0, 0.5], [1.0, 1.0], "approximate")
    assert (found.status, found.reason) == ("failed", "loss at step 2 is not finite")


def test_loosest_class_of_a_combination() -> None:
    assert loosest() == "exact"
    assert loosest("exact", "reordered") == "reordered"
    assert loosest("approximate", "exact", "reordered") == "approximate"
    with pytest.raises(ValueError):
        loosest("roughly")
    ordered = list(TOLERANCES.values())
    assert all(a.loss <= b.loss and a.grad_norm <= b.grad_norm for a, b in itertools.pairwise(ordered))


def test_differences_of_rounding_may_grow_and_faults_at_the_first_step_may_not() -> None:
    norm = [1.0] * 5
    grown = [1.0 + 1e-7 * 6**step for step in range(5)]  # two threads in place of one: 1.3e-4 at the fifth step
    assert check_parity(norm, grown, norm, norm, "reordered").status == "passed"
    at_once = [1.0 + 1.3e-4, *norm[1:]]
    assert check_parity(norm, at_once, norm, norm, "reordered").status == "failed"
    assert TOLERANCES["reordered"].allowed("grad_norm", 100) <= 1e-2


@given(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=6),
    st.floats(-0.5, 0.5).filter(lambda change: change == 0 or abs(change) > 1e-12),
    st.sampled_from(sorted(TOLERANCES)),
    st.data(),
)
def test_parity_fails_exactly_beyond_the_tolerance(values: list[float], change: float, name: Any, data: Any) -> None:
    step = data.draw(st.integers(0, len(values) - 1))
    changed = [value * (1 + change) if number == step else value for number, value in enumerate(values)]
    for tolerance, found in (
        (TOLERANCES[name].allowed("loss", step + 1), check_parity(changed, values, values, values, name)),
        (TOLERANCES[name].allowed("grad_norm", step + 1), check_parity(values, changed, values, values, name)),
    ):
        if abs(abs(change) - tolerance) > 1e-9:
            assert found.status == ("failed" if abs(change) > tolerance else "passed")


def test_a_figure_that_is_not_finite_costs_a_rank_nothing_else() -> None:
    """What a rank leaves passes through JSON, which has no NaN: the figure is missing then, the rest is there."""
    sick = a_rank(0, metrics={**a_rank().metrics, "first_step_s": math.nan})
    sick.evaluations[1].metrics["loss"] = math.inf
    read = RankResult.model_validate_json(sick.model_dump_json())
    assert read.metrics == {name: value for name, value in a_rank().metrics.items() if name != "first_step_s"}
    record = merged(read, a_rank(1))
    assert record.status is Status.OK
    assert "first_step_s" not in record.metrics
    assert record.evaluations[1].metrics == {}


# Whatever the ranks left, there is a record, and it reads back

numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
wild_ranks = st.lists(
    st.builds(
        RankResult,
        rank=st.integers(0, 2),
        phase=st.sampled_from(Phase),
        metrics=st.dictionaries(
            st.sampled_from(
                ["step_s", "window_s", "window_samples", "peak_allocated_bytes", "memory_other_bytes", "?"]
            ),
            st.floats(allow_nan=True),
        ),
        facts=st.dictionaries(
            st.sampled_from(["unit", "units_per_sample", "target", "metric", "warmup", "training_wall_s", "better"]),
            st.one_of(numbers, st.text(max_size=3), st.dictionaries(st.text(max_size=2), numbers)),
        ),
        series=st.dictionaries(
            st.sampled_from(["step", "timed", "loss", "grad_norm", "step_s", "loss_scale"]),
            st.lists(numbers, max_size=6),
        ),
        evaluations=st.lists(
            st.fixed_dictionaries(
                {"step": st.integers(1, 9), "train_s": st.floats(0, 9), "metrics": st.just({"eval_x": math.nan})}
            ),
            max_size=2,
        ),
        status=st.one_of(st.none(), st.sampled_from(Status)),
        error=st.one_of(st.none(), st.text(max_size=20)),
        signal=st.sampled_from([None, "SIGKILL", "SIGSEGV"]),
        exit_code=st.sampled_from([None, 0, 1, -9]),
    ),
    max_size=3,
    unique_by=lambda rank: rank.rank,
)


@settings(max_examples=150, deadline=None)
@given(wild_ranks, st.sampled_from(["exit", "timeout", "interrupt"]))
def test_every_ending_becomes_a_record_that_reads_back(ranks: list[RankResult], ended: Any) -> None:
    record, series = merge(a_trial(), ranks, reference(), ended=ended, started_at=1.0, ended_at=2.0)
    assert Record.model_validate_json(record.to_line()).status is record.status
    StepSeries.model_validate_json(series.model_dump_json(by_alias=True))
    assert (record.reason is None) == (record.status is Status.OK)
    assert record.reason is None or "\n" not in record.reason


def test_blame_of_ranks_that_ended_well() -> None:
    found = blame([a_rank(0), a_rank(1, status=Status.OK)], 2)
    assert (found.status, found.reason, found.phase) == (Status.OK, None, Phase.DONE)
