"""The largest micro-batch that fits: the decisions, what a run keeps of them, and a search with real processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.inventory import Inventory
from harness.run.conduct import Conductor, Event
from harness.run.executors import local
from harness.run.executors.local import Execution
from harness.run.plan import Plan, reference_trial
from harness.run.search import Next, Search, decide, fit_trial, search, tries_at_most, try_of
from harness.run.store import RunFolder
from harness.run.stored import read_run, stored_ok, stored_searches
from harness.schema.record import Phase, RankResult, Record, Status, Try
from harness.schema.trial import Trial
from tests.conftest import execute, make_trial
from tests.trials import a_rank, a_record, a_run_info, a_trial

MIB = 2**20
AMONG = (1, 2, 4, 8, 16)


def asked(repeat: int = 0, among: Sequence[int] = AMONG, **changes: object) -> Trial:
    """A trial of two ranks whose micro-batch is to be found."""
    share = max(among)
    known = {"global_batch": 2 * share, "micro_batch": share, "accumulation": 1, "among": tuple(among)}
    return a_trial(**known, repeat=repeat, **changes)


def tried(micro_batch: int, status: Status = Status.OK, **more: object) -> Try:
    return Try.model_validate({"micro_batch": micro_batch, "status": status, **more})


def answering(largest: int) -> Callable[[Trial], Record]:
    """Tries that fit up to a micro-batch and run out of memory beyond."""

    def attempt(trial: Trial) -> Record:
        status = Status.OK if trial.micro_batch <= largest else Status.OOM
        return a_record(trial, status=status, metrics={"peak_allocated_bytes": 100.0 * trial.micro_batch})

    return attempt


# decisions


@given(st.sets(st.integers(1, 5000), min_size=1, max_size=60), st.integers(0, 5000))
def test_largest_that_fits_is_found_in_few_tries(sizes: set[int], largest: int) -> None:
    among = sorted(sizes)
    found = search(asked(among=among), answering(largest))
    fitting = [size for size in among if size <= largest]
    assert found.micro_batch == (fitting[-1] if fitting else None)
    assert len(found.tries) <= tries_at_most(among)


def test_what_fits_whole_takes_one_try() -> None:
    found = search(asked(), answering(99))
    assert (found.micro_batch, [each.micro_batch for each in found.tries]) == (16, [16])


def test_order_of_tries_and_the_edge_twice() -> None:
    found = search(asked(), answering(5))
    assert [(each.micro_batch, each.status.value) for each in found.tries] == [
        (16, "OOM"), (4, "OK"), (8, "OOM"), (8, "OOM"),
    ]  # fmt: skip
    assert found.micro_batch == 4
    assert found.tries[1].peak_allocated_bytes == 400


def test_nothing_fits_is_out_of_memory_and_says_so() -> None:
    found = search(asked(), answering(0))
    assert found.micro_batch is None
    assert found.status is Status.OOM
    assert (found.reason or "").startswith("even micro_batch 1 did not fit")


def test_a_lie_of_the_executor_is_not_believed_at_once() -> None:
    """The first refusal of 8 is false: memory was short for a moment. 8 is still found."""
    truth, lies = answering(8), [8]

    def attempt(trial: Trial) -> Record:
        if trial.micro_batch in lies:
            lies.remove(trial.micro_batch)
            return a_record(trial, status=Status.OOM)
        return truth(trial)

    found = search(asked(), attempt)
    assert found.micro_batch == 8
    assert [each.status for each in found.tries if each.micro_batch == 8] == [Status.OOM, Status.OK]


def test_without_the_second_try_the_lie_would_make_the_batch_smaller() -> None:
    """Negative control: at the moment of the lie 4 is all that is known to fit."""
    so_far = [tried(16, Status.OOM), tried(4), tried(8, Status.OOM)]
    assert decide(AMONG, so_far) == Next(8)
    assert decide(AMONG, [*so_far, tried(8, Status.OOM)]) == Search((*so_far, tried(8, Status.OOM)), 4)


def test_after_a_lie_the_search_goes_on_above_it() -> None:
    so_far = [tried(16, Status.OOM), tried(4, Status.OOM), tried(2), tried(4)]
    assert decide(AMONG, so_far) == Next(8)


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMEOUT, Status.UNSUPPORTED, Status.INTERRUPTED])
def test_another_failure_ends_the_search_with_its_reason(status: Status) -> None:
    found = decide(AMONG, [tried(16, Status.OOM), tried(4, status, reason="rank 0: it says why")])
    assert isinstance(found, Search)
    assert (found.micro_batch, found.status) == (None, status)
    assert "ended at 4: rank 0: it says why" in (found.reason or "")


def test_death_by_a_signal_counts_as_too_large_and_stays_what_it_was() -> None:
    """The kernel kills where memory is at an end; nobody says so."""
    found = decide(AMONG, [tried(16, Status.CRASHED, signal="SIGKILL")])
    assert found == Next(4)
    assert isinstance(decide(AMONG, [tried(16, Status.CRASHED, signal="SIGTERM")]), Search)
    alone = [tried(1, Status.CRASHED, signal="SIGKILL", reason="killed")] * 2
    nothing = decide((1,), alone)
    assert isinstance(nothing, Search)
    assert nothing.status is Status.CRASHED


def test_only_the_signal_that_is_blamed_is_told() -> None:
    dead = [RankResult(rank=0, phase=Phase.WARMUP, error="ValueError: planted"),
            RankResult(rank=1, phase=Phase.WARMUP, signal="SIGABRT")]  # fmt: skip
    raised = a_record(status=Status.CRASHED, reason="rank 0: ValueError: planted", per_rank=dead)
    killed = a_record(status=Status.CRASHED, reason="rank 1: killed by SIGABRT", per_rank=dead)
    assert try_of(raised).signal is None
    assert try_of(killed).signal == "SIGABRT"


# what a trial is


def test_accumulation_keeps_the_global_batch() -> None:
    trial = asked()
    for size in AMONG:
        found = trial.with_micro_batch(size, searched=True)
        assert found.micro_batch * found.accumulation * found.processes == found.global_batch


def test_identity_is_what_was_asked_and_not_what_was_found() -> None:
    trial = asked()
    found = trial.with_micro_batch(4, searched=True)
    assert (found.id, found.cell) == (trial.id, trial.cell)
    assert found.label.endswith("micro_batch max → 4")
    given = a_trial(global_batch=32, micro_batch=4, accumulation=4)
    assert given.cell != found.cell
    assert "micro_batch" not in given.label
    assert fit_trial(trial, 4).id != fit_trial(trial, 8).id


def test_reference_takes_what_was_found_and_no_limit() -> None:
    found = asked(memory_limit_bytes=MIB).with_micro_batch(4, searched=True)
    reference = reference_trial(found)
    assert (reference.micro_batch, reference.accumulation, reference.memory_limit_bytes) == (4, 8, None)
    assert reference.id == reference_trial(a_trial(global_batch=32, micro_batch=4, accumulation=4)).id


def test_limit_is_part_of_what_a_trial_is() -> None:
    assert a_trial(memory_limit_bytes=MIB).cell != a_trial().cell


# what a run keeps


class Machine:
    """An executor that starts nothing: micro-batches fit up to one, or what `lies` says."""

    def __init__(self, largest: int):
        self.largest, self.executed = largest, list[Trial]()

    def __call__(self, trial: Trial) -> Execution:
        self.executed.append(trial)
        refused = trial.kind != "reference" and trial.micro_batch > self.largest
        ends = {"status": Status.OOM, "error": "RuntimeError: can't allocate memory", "exit_code": 1} if refused else {}
        ranks = [a_rank(rank, series=a_rank().series, **ends) for rank in range(trial.processes)]
        return Execution(ranks, "exit", 1.0, 2.0)

    def of_kind(self, kind: str) -> list[Trial]:
        return [trial for trial in self.executed if trial.kind == kind]


def conducted(results: Path, trials: Sequence[Trial], machine: Machine, resume: bool = False) -> list[Record]:
    """Conduct trials as a run does; returns the records as they are read back."""
    folder = RunFolder.create(results, a_run_info(planned=len(trials)))
    kept = stored_ok(results, "machine-a") if resume else {}
    searches = stored_searches(results, "machine-a") if resume else {}
    events: list[Event] = []
    conductor = Conductor(Inventory(machine_key="machine-a"), folder, machine, events.append, kept, searches)
    assert conductor.conduct(Plan(trials=list(trials)))
    folder.finish()
    assert len([event for event in events if event.kind == "tried"]) == len(machine.of_kind("fit"))
    return read_run(folder.folder).records


def test_search_is_done_once_and_kept_in_every_record(tmp_path: Path) -> None:
    machine = Machine(4)
    records = conducted(tmp_path, [asked(repeat) for repeat in range(3)], machine)
    assert [trial.micro_batch for trial in machine.of_kind("fit")] == [16, 4, 8, 8]
    assert [(r.trial.micro_batch, r.trial.accumulation, r.trial.searched) for r in records] == [(4, 4, True)] * 3
    assert all([each.micro_batch for each in record.search] == [16, 4, 8, 8] for record in records)
    assert {trial.micro_batch for trial in machine.of_kind("reference")} == {4}
    assert not any(trial.among for trial in machine.of_kind("fit"))


def test_nothing_fits_is_a_row_of_every_round_without_execution(tmp_path: Path) -> None:
    machine = Machine(0)
    records = conducted(tmp_path, [asked(repeat) for repeat in range(2)], machine)
    assert [record.status for record in records] == [Status.OOM] * 2
    assert "even micro_batch 1 did not fit" in (records[1].reason or "")
    assert len(records[1].search) == len(machine.of_kind("fit"))
    assert not machine.of_kind("measure")


def test_out_of_memory_of_a_given_micro_batch_is_no_reason_to_shrink_it(tmp_path: Path) -> None:
    machine = Machine(4)
    (record,) = conducted(tmp_path, [a_trial(global_batch=32, micro_batch=16, accumulation=1)], machine)
    assert (record.status, record.trial.micro_batch, record.search) == (Status.OOM, 16, [])
    assert not machine.of_kind("fit")


def test_resumed_run_goes_on_with_the_stored_search(tmp_path: Path) -> None:
    conducted(tmp_path, [asked(0)], Machine(4))
    machine = Machine(99)
    records = conducted(tmp_path, [asked(0), asked(1)], machine, resume=True)
    assert not machine.of_kind("fit")
    assert [record.trial.micro_batch for record in records] == [4, 4]
    assert [record.resumed_from is not None for record in records] == [True, False]
    assert [len(record.search) for record in records] == [4, 4]


def test_search_of_another_machine_is_not_taken(tmp_path: Path) -> None:
    conducted(tmp_path, [asked(0)], Machine(4))
    assert stored_searches(tmp_path, "machine-a")
    assert not stored_searches(tmp_path, "machine-b")


def test_kept_trial_of_another_size_is_measured_again(tmp_path: Path) -> None:
    """Two runs found different sizes: rounds of both would be pooled into one cell."""
    conducted(tmp_path, [asked(0), asked(1)], Machine(4))
    conducted(tmp_path, [asked(1)], Machine(8))
    machine = Machine(8)
    records = conducted(tmp_path, [asked(0), asked(1)], machine, resume=True)
    assert [record.trial.micro_batch for record in records] == [8, 8]
    assert len(machine.of_kind("measure")) == 1


# with real processes

CORES = sorted(os.sched_getaffinity(0))


@pytest.mark.processes
@pytest.mark.parametrize(("limit", "largest"), [(100, 4), (60, 2)])
def test_what_fits_is_found_under_a_limit(tmp_path: Path, limit: int, largest: int) -> None:
    """16 MiB a sample beside next to nothing: 4 samples are 64 MiB and 8 are 128, 2 are 32."""
    trial = make_trial(
        workload={"name": "greedy", "mebibytes": 16}, among=(1, 2, 4, 8, 16), micro_batch=16, accumulation=1,
        memory_limit_bytes=limit * MIB, steps=2, warmup_steps=5, eval_every=0,
    )  # fmt: skip
    folder = RunFolder.create(tmp_path, a_run_info())
    conductor = Conductor(Inventory(), folder, lambda each: local.execute(each, CORES), lambda _event: None)
    assert conductor.conduct(Plan(trials=[trial]))
    (record,) = read_run(folder.folder).records
    assert record.status is Status.OK, record.reason
    assert record.trial.micro_batch == largest
    assert record.parity is not None
    assert record.parity.status == "passed"
    ends = {each.micro_batch: each for each in record.search}
    assert ends[2 * largest].status is Status.OOM
    assert "can't allocate memory" in (ends[2 * largest].reason or "")
    peak = ends[largest].peak_allocated_bytes
    assert peak is not None
    assert largest * 16 * MIB <= peak < (largest * 16 + 1) * MIB


@pytest.mark.processes
def test_limit_gives_out_of_memory_where_there_is_memory_enough() -> None:
    """Negative control beside it: the same trial without the limit ends well."""
    hungry = {"workload": {"name": "greedy", "mebibytes": 32}, "steps": 2, "warmup_steps": 5, "eval_every": 0}
    record, _series = execute(make_trial(memory_limit_bytes=100 * MIB, **hungry), parity=False)
    assert record.status is Status.OOM, record.reason
    assert record.phase is Phase.WARMUP
    right, _series = execute(make_trial(**hungry), parity=False)
    assert right.status is Status.OK, right.reason


@pytest.mark.processes
def test_rank_out_of_memory_is_told_from_its_peers() -> None:
    hungry = {"workload": {"name": "greedy", "mebibytes": 32}, "steps": 2, "warmup_steps": 5, "eval_every": 0}
    record, _series = execute(make_trial("ddp", 2, memory_limit_bytes=100 * MIB, **hungry), parity=False)
    assert record.status is Status.OOM, record.reason
    assert len(record.per_rank) == 2
