"""What a run read back takes: its numbers and little beside, since a large one is read as a whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

from harness.run.series_file import read_series
from harness.run.store import RunFolder
from harness.run.stored import read_run
from tests.test_store import form, written
from tests.trials import a_record, a_run_info, a_series, a_trial

__all__ = ["form"]


def held_bytes(make: Callable[[], object]) -> int:
    """Bytes that what is made keeps."""
    tracemalloc.start()
    kept = make()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept
    return held


def test_finished_series_take_little_memory(tmp_path: Path, form: str) -> None:
    """In columns a number takes 8 bytes, in lists 32: as lines, while the run goes on, that is seen."""
    run, steps = RunFolder.create(tmp_path, a_run_info()), 2000
    for repeat in range(10):
        trial = a_trial(repeat=repeat)
        run.append(a_record(trial), a_series(trial, steps))
    if form != "jsonl":
        run.finish(parent_cpu_s=0.5)
    warnings: list[str] = []
    read_series(run.folder, warnings.append)  # imports what it needs
    held = held_bytes(lambda: read_series(run.folder, warnings.append))
    numbers = 10 * sum(len(values) for values in a_series(a_trial(), steps).columns.values())
    assert warnings == []
    assert (held < 9 * numbers) == (form != "jsonl")


def test_what_trials_have_in_common_is_kept_once(tmp_path: Path) -> None:
    run = written(tmp_path)
    other = a_trial(strategy="fsdp")
    run.append(a_record(other), None)
    records = read_run(run.folder).records
    assert records[-1].trial == other
    for name in ("workload", "strategy", "precision", "techniques", "recipe"):
        first, second, last = (getattr(records[at].trial, name) for at in (0, 1, -1))
        assert first is second
        assert (last is first) == (name != "strategy")
