"""A run as `watching` sees it, without any training: `python -m tests.played_run SECONDS CELLS`."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from harness.cli.terminal import watching
from harness.machine.inventory import Inventory
from harness.measure.progress import Progress, progress_path
from harness.run.conduct import Event
from harness.run.plan import make_plan
from harness.schema.record import Phase, Record, Status
from harness.schema.suite import Suite


def play(seconds: float, cells: int) -> None:
    """One round of so many cells; each takes so many seconds."""
    strategies = [{"name": "ddp", "bucket_cap_mb": float(number)} for number in range(1, cells + 1)]
    fixed = {"workload": "gpt", "size": "nano"}
    suite = {"question": "?", "baseline": {"strategy": "single"}, "fixed": fixed, "grid": {"strategy": strategies}}
    suite["budget"] = {"repeats": 1}
    suite["baseline"] = {"strategy": strategies[0]}
    plan = make_plan(Suite.model_validate(suite), Inventory(cores=[0, 1]))
    with watching(plan, {}) as told, tempfile.TemporaryDirectory() as name:
        before = resource.getrusage(resource.RUSAGE_SELF)
        for number, trial in enumerate(plan.trials, 1):
            told.observe(Event("started", trial, number, cells))
            telling = Progress(progress_path(Path(name)), window=1000, read=float)
            if told.watch is not None:
                told.watch(trial, Path(name))
            telling.know([4.0 / step for step in range(1, 12)])
            telling.begin(Phase.TIMED)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.3)
                telling.step(int(1000 - 900 * max(0.0, until - time.monotonic()) / seconds), 0.3)
            told.observe(Event("finished", trial, number, cells, Record(
                trial=trial, status=Status.OK, phase=Phase.DONE, metrics={"step_s": 0.0123, "samples_per_s": 1234.5},
            )))  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"CPU {used / cells:.4f} s per trial")


if __name__ == "__main__":
    try:
        play(float(sys.argv[1]), int(sys.argv[2]))
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
