"""`harness compare` and `harness gate` on what is broken: each has its own message, and none of it a verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.terminal import main
from harness.machine.environment import DECIDING, GIB, deciding, machine_key
from harness.run.store import RunFolder
from harness.schema.measured import Measured
from tests.test_compare import changed, side, with_metric
from tests.trials import a_record, a_run_info, a_series, a_trial

Typed = Callable[..., tuple[int, str]]
VERDICTS = ("regressed", "improved", "same")
FIELDS: dict[str, tuple[Any, Any]] = {
    "accelerator": ("cuda", "xpu"),
    "accelerator_names": (["NVIDIA H200"], ["NVIDIA B200"]),
    "accelerator_memory_bytes": ([139 * GIB], [80 * GIB]),
    "driver": ("570.1", "571.0"),
    "cuda": ("12.8", "13.0"),
    "cpu_model": ("X", "Y"),
    "cpu_capability": ("AVX512", "AVX2"),
    "cpu_quota_cores": (8.0, 4.0),
    "cores": ([0, 1, 2, 3], [0, 1]),
    "memory_bytes": (128 * GIB, 64 * GIB),
    "torch": ("2.13.0", "2.14.0"),
    "governor": ("performance", "powersave"),
}
"""All of a fingerprint that decides speed, on two machines."""
FULL = {name: here for name, (here, _there) in FIELDS.items()} | {"host": "lab", "clock_mhz": 2500}
OTHER = {name: there for name, (_here, there) in FIELDS.items()}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; its exit code, and all that it said."""

    def type_(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return int(ended.value.code or 0), (told.out + told.err).replace("\u00a0", " ")

    return type_


def kept(path: Path, items: list[Measured]) -> Path:
    path.write_text("".join(json.dumps(item.model_dump(by_alias=True)) + "\n" for item in items))  # NaN as NaN
    return path


def gated(typed: Typed, a: Path, b: Path, *options: str) -> tuple[int, str]:
    """The gate, and that `compare` says the same without its exit code."""
    code, said = typed("gate", "--baseline", a, "--candidate", b, *options)
    typed_code, compared = typed("compare", a, b)
    assert typed_code == (2 if code == 2 and "error:" in said else 0)
    assert not set(VERDICTS) & {word for line in compared.splitlines() for word in line.split()[2:3]}
    return code, said


# run folders


def a_run(results: Path, repeats: int = 3, **info: Any) -> Path:
    """A run folder that `harness run` might have written: one cell, so many rounds."""
    folder = RunFolder.create(results, a_run_info(**{"planned": repeats, "session": "s"} | info))
    for repeat in range(repeats):
        trial = a_trial(repeat=repeat)
        record = a_record(trial, metrics={"step_s": 0.1, "step_cpu_s": 0.1, "peak_allocated_bytes": 9.0})
        folder.append(record, a_series(trial))
    folder.finish()
    return folder.folder


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """What changes the text of a file of a run folder."""

    def edited(folder: Path) -> None:
        (folder / name).write_text(change((folder / name).read_text()))

    return edited


def of_line(number: int, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """What changes the record in a line of trials.jsonl."""

    def text(old: str) -> str:
        lines = old.splitlines()
        content = json.loads(lines[number])
        change(content)
        lines[number] = json.dumps(content)
        return "\n".join(lines) + "\n"

    return edit("trials.jsonl", text)


BROKEN_RUNS: dict[str, tuple[Callable[[Path], None], str]] = {
    "newer run": (
        edit("run.json", lambda old: old.replace('"schema": 1', '"schema": 9')),
        "run.json: written by a newer version (schema 9, known 1): update the harness",
    ),
    "older run": (
        edit("run.json", lambda old: old.replace('"schema": 1', '"schema": 0')),
        "run.json: written by an older version (schema 0, known from 1 on): run the suite again",
    ),
    "newer record": (
        of_line(1, lambda record: record.update(schema=9)),
        "trials.jsonl:2: written by a newer version (schema 9, known 1); left out: expected a run whose trials are",
    ),
    "older record": (
        of_line(1, lambda record: record.update(schema=0)),
        "trials.jsonl:2: written by an older version (schema 0, known from 1 on); left out",
    ),
    "torn last line": (
        edit("trials.jsonl", lambda old: old[:-40]),
        "trials.jsonl:3: last line is torn: its writer was cut off; left out",
    ),
    "damaged line": (
        edit("trials.jsonl", lambda old: old.replace('{"schema"', '{schema"', 1)),
        "trials.jsonl:1: line is damaged; left out",
    ),
    "round there twice": (
        edit("trials.jsonl", lambda old: old + old.splitlines()[0] + "\n"),
        "stands there more than once; the last one counts",
    ),
    "NaN": (
        of_line(0, lambda record: record["metrics"].update(step_s=float("nan"))),
        "step_s is nan: a metric that could not be measured is left out; left out",
    ),
    "still running": (
        edit("run.json", lambda old: json.dumps(json.loads(old) | {"ended_at": None})),
        "ended_at: expected a run that has ended: this one still goes on, or was cut off",
    ),
    "interrupted": (
        edit("trials.jsonl", lambda old: "".join(old.splitlines(keepends=True)[:2])),
        "found '2 trials', expected all 3 that were planned: it was interrupted",
    ),
    "no run": (lambda folder: (folder / "run.json").unlink(), "has no run.json: expected a folder that `harness run`"),
    "nothing in it": (
        lambda folder: shutil.rmtree(folder),
        "or a file of pytest-benchmark (No such file",
    ),
    "no records": (
        lambda folder: (folder / "trials.jsonl").unlink(),
        "found '0 trials', expected all 3 that were planned",
    ),
    "another thing": (
        lambda folder: (folder / "ab.json").touch(),
        "expected one of its files: a.jsonl, b.jsonl or null",
    ),
}


@pytest.mark.parametrize("name", BROKEN_RUNS)
def test_a_run_that_is_not_whole_is_an_error(name: str, tmp_path: Path, typed: Typed) -> None:
    break_, said = BROKEN_RUNS[name]
    good, bad = a_run(tmp_path / "a"), a_run(tmp_path / "b")
    assert gated(typed, good, good)[0] == 0, "whole, both are"
    break_(bad)
    for sides in ((good, bad), (bad, good)):
        code, told = gated(typed, *sides)
        assert (code, said in told) == (2, True), told
        assert "gate:" not in told


def test_rounds_of_a_run_that_are_on_one_side_only(tmp_path: Path, typed: Typed) -> None:
    code, told = gated(typed, a_run(tmp_path / "a"), a_run(tmp_path / "b", repeats=2))
    assert (code, "round seed 0, repeat 2 is on one side only" in told) == (3, True), told


# files of rounds

FEW = side(rounds=4)


def with_value(value: float | None) -> list[Measured]:
    every = FEW
    for metric in ("step_s", "step_cpu_s", "peak_allocated_bytes", "parameters"):
        every = with_metric(every, metric, lambda number: value if number == 2 else 0.02)
    return every


BROKEN_ROUNDS: dict[str, tuple[list[Measured], str]] = {
    "a round there twice": ([*FEW, FEW[1]], "B has round 1 more than once"),
    "a round missing": (FEW[:3], "round 3 is on one side only"),
    "several sessions": (changed(FEW, 1, session="t"), "the rounds of B are of several sessions"),
    "several machines": (changed(FEW, 1, machine="n"), "the rounds of B are of several machines"),
    "another machine": (
        [each.model_copy(update={"machine": "n"}) for each in FEW],
        "other machines: their keys differ",
    ),
    "another cell": (side(rounds=4, cell="d"), "only A has it"),
    "nothing ended well": ([each.model_copy(update={"status": "OOM"}) for each in FEW[:3]], "of B not: round 0 OOM"),
    "negative": (with_value(-0.02), "round 2 of B is -0.02: no s is that"),
    "NaN": (with_value(float("nan")), "round 2 of B is nan: no number"),
    "infinite": (with_value(float("inf")), "round 2 of B is inf: no number"),
    "null": (with_value(None), "round 2 of B is None: no number"),
}


@pytest.mark.parametrize("name", BROKEN_ROUNDS)
def test_rounds_that_are_no_pairs_or_no_figures(name: str, tmp_path: Path, typed: Typed) -> None:
    b, said = BROKEN_ROUNDS[name]
    sides = kept(tmp_path / "a", FEW), kept(tmp_path / "b", b)
    if name == "nothing ended well":
        code, told = typed("gate", "--baseline", sides[0], "--candidate", sides[1])
        assert (code, said in told) == (1, True), "which is a verdict: B broke it"
        return
    code, told = gated(typed, *sides)
    assert (code, said in told) == (3, True), told


def test_a_clock_that_stood_still(tmp_path: Path, typed: Typed) -> None:
    zero = with_metric(FEW, "step_s", lambda number: 0.0 if number == 2 else 0.02)
    code, told = typed("gate", "--baseline", kept(tmp_path / "a", FEW), "--candidate", kept(tmp_path / "b", zero))
    assert (code, "round 2 of B is 0: no s is that" in told) == (3, True), told


LINE = FEW[0].model_dump_json(by_alias=True)
BROKEN_FILES = {
    "newer": (LINE.replace('"schema":1', '"schema":9'), "schema: found 9, expected 1 at most: update the harness"),
    "older": (LINE.replace('"schema":1', '"schema":0'), "schema: found 0, expected 1 at least: an older version wrote"),
    "torn": (LINE[:-9], ":2: expected a whole line of JSON"),
    "empty": (None, "expected at least one measured round"),
    "no text": (b"\xff\xfe\x00", "or a file of pytest-benchmark (it is not UTF-8)"),
    "no round": ("[1, 2]", ":2: found [1, 2], expected a valid dictionary"),
    "nested": ("[" * 100_000, ":2: expected a line of JSON that is not nested"),
    "a time in words": (LINE.replace('"step_s":', '"step_s":"fast","x":'), "metrics.step_s: found 'fast', expected a"),
    "unknown key": (LINE.replace('"cell"', '"sell"'), ":2: cell: expected a value: it must be given"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_file_that_holds_no_rounds_is_an_error(name: str, tmp_path: Path, typed: Typed) -> None:
    content, said = BROKEN_FILES[name]
    bad = tmp_path / "b"
    if content is None:
        bad.touch()
    else:
        bad.write_bytes(content if isinstance(content, bytes) else f"{LINE}\n{content}\n".encode())
    code, told = gated(typed, kept(tmp_path / "a", FEW), bad)
    assert (code, said in told) == (2, True), told


def test_nothing_measured_on_either_side_is_exit_2(tmp_path: Path, typed: Typed) -> None:
    broken = [each.model_copy(update={"status": "CRASHED", "reason": "planted"}) for each in FEW]
    code, told = gated(typed, kept(tmp_path / "a", broken), kept(tmp_path / "b", broken))
    assert (code, "no round ended well on either side" in told, "nothing was measured" in told) == (2, True, True)
    other = [each.model_copy(update={"status": "PARITY_FAILED"}) for each in FEW]
    assert typed("gate", "--baseline", kept(tmp_path / "e", other), "--candidate", kept(tmp_path / "f", other))[0] == 3
    some = [*broken, *side(cells=2, rounds=4)[4:]]
    assert typed("gate", "--baseline", kept(tmp_path / "c", some), "--candidate", kept(tmp_path / "d", some))[0] == 3


# other machines


def on(environment: dict[str, Any], key: bool = True) -> list[Measured]:
    named = machine_key(environment) if key else ""
    update = {"machine": named, "environment": deciding(environment)}
    return [item.model_copy(update=update) for item in side(rounds=8)]


def test_what_decides_speed_is_all_tried_here() -> None:
    assert set(deciding(FULL)) == DECIDING
    tried = {
        key for name in OTHER for key in DECIDING if deciding(FULL | {name: OTHER[name]})[key] != deciding(FULL)[key]
    }
    assert tried == DECIDING


@pytest.mark.parametrize("key", [True, False], ids=["by key", "by what it stands for"])
@pytest.mark.parametrize("name", OTHER)
def test_each_hard_field_that_differs_is_exit_3(name: str, key: bool, tmp_path: Path, typed: Typed) -> None:
    a, b = kept(tmp_path / "a", on(FULL, key)), kept(tmp_path / "b", on(FULL | {name: OTHER[name]}, key))
    for sides in ((a, b), (b, a)):
        code, told = gated(typed, *sides, "--strict")
        assert (code, "other machines: " in told) == (3, True), told
    without = kept(tmp_path / "c", on({each: value for each, value in FULL.items() if each != name}))
    assert gated(typed, kept(tmp_path / "d", on(FULL)), without)[0] == 3, "nor is one that is not known"


def test_what_does_not_decide_speed_is_no_other_machine(tmp_path: Path, typed: Typed) -> None:
    other = on(FULL | {"host": "elsewhere", "clock_mhz": 1200})
    code, _told = typed(
        "gate", "--baseline", kept(tmp_path / "a", on(FULL)), "--candidate", kept(tmp_path / "b", other)
    )
    assert code == 0
