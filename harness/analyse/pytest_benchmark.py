"""Files of pytest-benchmark as measured rounds: each benchmark is a cell, each group of fresh processes a round.

Rounds that one process ran one after another are one round: where its memory lies, and what the machine did meanwhile,
is in all of them. A folder with a file per process is a side with as many rounds. What the harness adds to a file
(`schema/benchmark_rounds`) tells which kind it is.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from harness.schema.benchmark_rounds import KEY, BenchmarkRounds
from harness.schema.errors import InputError, Problem
from harness.schema.measured import Measured

MAJORS = ("3", "4", "5")
"""Versions of pytest-benchmark whose files are alike in what is read here."""
ANCHOR = "anchor"
WALL, CPU = "round_s", "round_cpu_s"
OF_CPU = ("brand_raw", "arch", "count", "bits")
OF_MACHINE = ("machine", "processor", "system", "release", "python_implementation", "python_version")
"""What of a foreign `machine_info` stays the same from run to run and may decide speed."""


class _Stats(BaseModel):
    data: list[float | None] | None = None


class _Benchmark(BaseModel):
    fullname: str = Field(min_length=1)
    stats: _Stats
    extra_info: dict[str, Any] = {}


class _File(BaseModel):
    machine_info: dict[str, Any] = Field(min_length=1)
    benchmarks: list[_Benchmark] = Field(min_length=1)
    version: str


@dataclass(frozen=True)
class _Machine:
    key: str
    environment: dict[str, Any]
    device: str


@dataclass(frozen=True)
class _Round:
    """One row of a side. anchor: seconds of the code that is the same on both sides, by metric."""

    name: str
    metrics: dict[str, float | None]
    anchor: dict[str, float | None]


def is_file_of(content: object) -> bool:
    """Whether parsed JSON is meant as a file of pytest-benchmark."""
    return isinstance(content, dict) and "benchmarks" in content


def rounds_of(contents: Mapping[str, object], session: str = "") -> tuple[list[Measured], list[str]]:
    """The measured rounds of one or several files (where they are from → parsed JSON), and what to know about them.

    session: what several files are together; a file alone is a session of its own, unless it names one. Raises
    InputError with every problem, also where the files are of different machines.
    """
    files = {where: _checked(where, content) for where, content in contents.items()}
    machines = {where: _machine(file.machine_info) for where, file in files.items()}
    _of_one_machine(machines)
    found: list[Measured] = []
    warnings: list[str] = []
    for where, file in files.items():
        prefix = f"{Path(where).stem} " if len(files) > 1 else ""
        own = session or _digest(contents[where])
        measured, one_process = _of_file(where, file, machines[where], prefix, own)
        found += measured
        warnings += [_warning(where, one_process)] if one_process else []
    return found, warnings if len(files) == 1 else []


def _warning(where: str, names: Sequence[str]) -> str:
    those = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
    return (
        f"{where}: all rounds of {those} are of one process: that is one round, and a verdict needs 6 "
        f"(a folder of files, one per process, is a side of as many rounds; see docs/exports.md)"
    )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _checked(where: str, content: object) -> _File:
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise InputError(_problem(where, detail) for detail in error.errors()) from error
    if file.version.split(".")[0] not in MAJORS:
        expected = f"a file of pytest-benchmark {MAJORS[0]} to {MAJORS[-1]}"
        raise InputError([Problem(where, "version", file.version, expected)])
    without = [each.fullname for each in file.benchmarks if not each.stats.data]
    if without:
        expected = "the seconds of all rounds: they are saved by --benchmark-json, or with --benchmark-save-data"
        raise InputError(Problem(where, f"{name}: stats.data", None, expected) for name in without[:5])
    return file


def _problem(where: str, detail: Any) -> Problem:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return Problem(where, key, None, "a file of pytest-benchmark, which has it")
    if detail["type"] == "too_short":
        return Problem(where, key, detail["input"], "at least one: nothing was measured")
    return Problem(where, key, detail["input"], detail["msg"].removeprefix("Input should be "))


def _machine(info: Mapping[str, Any]) -> _Machine:
    """The harness's key where it stands there, else one over what stays the same in pytest-benchmark's own facts."""
    known = info.get(KEY)
    if isinstance(known, dict) and known.get("machine_key"):
        environment = known.get("environment")
        told = environment if isinstance(environment, dict) else {}
        return _Machine(str(known["machine_key"]), told, str(known.get("device", "cpu")))
    cpu = info.get("cpu") if isinstance(info.get("cpu"), dict) else {}
    kept = {key: info[key] for key in OF_MACHINE if key in info}
    kept |= {f"cpu {key}": cpu[key] for key in OF_CPU if key in cpu}  # type: ignore[index,operator]
    return _Machine(f"pytest-benchmark {_digest(kept)}", kept, "cpu")


def _of_one_machine(machines: Mapping[str, _Machine]) -> None:
    keys = {machine.key: where for where, machine in machines.items()}
    if len(keys) > 1:
        (first, one), (second, other), *_ = keys.items()
        raise InputError([Problem(other, "machine_info", second, f"the machine of {one} ({first})")])


def _of_file(where: str, file: _File, machine: _Machine, prefix: str, session: str) -> tuple[list[Measured], list[str]]:
    """Rounds of all benchmarks of a file, and the names of those whose rounds are of one process."""
    found: list[Measured] = []
    one_process: list[str] = []
    flagged = _flagged(where, file)
    for benchmark in file.benchmarks:
        told = _told(where, benchmark)
        name = benchmark.fullname
        if not told.fresh:
            one_process.append(name)
        common = {
            "session": told.session or session,
            "machine": machine.key,
            "environment": machine.environment,
            "device": told.device or machine.device,
        }
        own = {"cell": name, **common}
        for each in _rounds(benchmark, told, flagged):
            row = f"{prefix}{name} {each.name}"
            found.append(Measured.model_validate({**own, "round": row, "metrics": each.metrics}))
            if each.anchor:
                asked = {"cell": ANCHOR, "round": row, "anchor": True, "metrics": each.anchor, **common}
                found.append(Measured.model_validate(asked))
        for failed, how in told.failed.items():
            status, _colon, reason = how.partition(": ")
            asked = {**own, "round": f"{prefix}{name} {failed}", "status": status or "CRASHED", "reason": reason}
            found.append(Measured.model_validate(asked))
    return found, one_process


def _told(where: str, benchmark: _Benchmark) -> BenchmarkRounds:
    try:
        told = BenchmarkRounds.model_validate(benchmark.extra_info.get(KEY, {}))
    except ValidationError as error:
        raise InputError(
            _problem(f"{where}: {benchmark.fullname}: extra_info.{KEY}", d) for d in error.errors()
        ) from error
    rounds = len(benchmark.stats.data or ())
    for key in ("cpu_s", "anchor_s", "anchor_cpu_s", "names"):
        if told.fresh and (values := getattr(told, key)) and len(values) != rounds:
            key = f"{benchmark.fullname}: extra_info.{KEY}.{key}"
            raise InputError([Problem(where, key, f"{len(values)} values", f"{rounds}, one per round")])
    return told


def _flagged(where: str, file: _File) -> dict[str, float | None]:
    """Seconds of the benchmark that says of itself that it is the anchor of the file; empty without one."""
    for benchmark in file.benchmarks:
        if benchmark.extra_info.get(ANCHOR) is True:
            told = _told(where, benchmark)
            return _metrics([_one(benchmark.stats.data or ())], [_one(told.cpu_s)] if told.cpu_s else [], 0)
    return {}


def _rounds(benchmark: _Benchmark, told: BenchmarkRounds, flagged: dict[str, float | None]) -> Iterator[_Round]:
    data: Sequence[float | None] = benchmark.stats.data or ()
    columns: list[Sequence[float | None]] = [data, told.cpu_s, told.anchor_s, told.anchor_cpu_s]
    names: Sequence[str] = told.names or [str(number) for number in range(1, len(data) + 1)]
    if not told.fresh:
        columns, names = [[_one(values)] if values else [] for values in columns], ("1",)
    wall, cpu, anchor, anchor_cpu = columns
    for number, name in enumerate(names):
        beside = _metrics(anchor, anchor_cpu, number) if anchor or anchor_cpu else flagged
        yield _Round(name, _metrics(wall, cpu, number), beside)


def _metrics(wall: Sequence[float | None], cpu: Sequence[float | None], number: int) -> dict[str, float | None]:
    return {name: values[number] for name, values in ((WALL, wall), (CPU, cpu)) if values}


def _one(values: Sequence[float | None]) -> float | None:
    """The median; where any value is no time at all that value, so that it is refused and not averaged away."""
    for value in values:
        if value is None or not math.isfinite(value) or value <= 0:
            return value
    return statistics.median(value for value in values if value is not None)
