"""Stored sessions of `harness ab` and runs made by hand, with a planted step, for the tests of the history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.run.store import RunFolder
from harness.schema.measured import Measured
from tests.trials import a_record, a_run_info, a_trial

CONTROL = "c" * 40
ROUNDS = 12


def commit(number: int) -> str:
    return f"{number:03x}" + "0" * 37


def rounds_of(
    seconds: Sequence[float], session: str, *, cell: str = "cell", machine: str = "m", peak: float = 1000.0
) -> list[Measured]:
    return [
        Measured(
            cell=cell, label="gpt/nano single fp32", round=str(number), session=session, machine=machine,
            metrics={"step_cpu_s": value, "step_s": value, "peak_allocated_bytes": peak},
        )
        for number, value in enumerate(seconds)
    ]  # fmt: skip


def write_session(
    results: Path, number: int, slower: float, *, a: str = CONTROL, b: str | None = None, noise: float = 0.02,
    peak: float = 1000.0, machine: str = "m", dirty: bool = False, **about: object,
) -> Path:  # fmt: skip
    """A session whose B is so much slower than A; the machine is busy in every other 20, which hits both."""
    draw = np.random.default_rng(number)
    moment = 0.02 * (1.3 if number // 20 % 2 else 1.0) * np.exp(draw.normal(0, 0.05))
    name = f"20260101T{number:06d}.000Z-host-1-abcdef"
    folder = results / "ab" / name
    folder.mkdir(parents=True)
    for arm, factor in (("a", 1.0), ("b", slower), ("null", 1.0)):
        own = moment * factor * np.exp(draw.normal(0, noise, ROUNDS))
        lines = rounds_of(own.tolist(), name, machine=machine, peak=peak if arm == "b" else 1000.0)
        (folder / f"{arm}.jsonl").write_text("".join(item.model_dump_json(by_alias=True) + "\n" for item in lines))
    told = {
        "suite": "speed.toml",
        "plugins": ["model.py"],
        "a": {"spec": "main", "commit": a, "dirty": False},
        "b": {"spec": "HEAD", "commit": b or commit(number), "dirty": dirty},
        "started_at": f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00.000+00:00",
        "ended_at": "2026-01-01T01:00:00.000+00:00",
    }
    (folder / "ab.json").write_text(json.dumps({**told, **about}))
    return folder


def stepped_sessions(results: Path, versions: int = 40, step_at: int = 25, step: float = 1.05) -> None:
    """A session per version, all against one control; from one of them on B is slower."""
    for number in range(versions):
        write_session(results, number, step if number >= step_at else 1.0)


def write_run(results: Path, number: int, slower: float, *, rounds: int = 6) -> Path:
    """A run of two cells, the baseline `single` and `ddp`; a stored wall time follows the moment of the machine."""
    draw = np.random.default_rng((number, 5))
    info = a_run_info(
        baseline={"strategy": "single"}, compared_keys=["strategy"], suite_file="suites/speed.toml",
        started_at=f"2026-02-{1 + number // 24:02d}T{number % 24:02d}:00:00.000+00:00",
        environment={"git_commit": commit(number), "git_dirty": False},
    )  # fmt: skip
    folder = RunFolder.create(results, info)
    moment = float(np.exp(draw.normal(0, 0.5)))
    for repeat in range(rounds):
        for strategy, factor in (("single", 1.0), ("ddp", slower)):
            seconds = 0.1 * moment * factor * float(np.exp(draw.normal(0, 0.02)))
            processes = 1 if strategy == "single" else 2
            trial = a_trial(strategy=strategy, repeat=repeat, processes=processes, accumulation=2 // processes)
            folder.append(a_record(trial, metrics={"step_s": seconds, "step_cpu_s": seconds}), None)
    folder.finish()
    return folder.folder
