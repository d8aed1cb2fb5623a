"""Sides of a comparison: from run folders and from files, everything that is not whole named; and how it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.analyse.compare import Judgement, compare
from harness.analyse.measured_file import read_file
from harness.analyse.sides import of_run, read_side
from harness.report.comparison import as_rows, comparison, in_words, percent
from harness.run.store import RunFolder
from harness.run.stored import StoredRun
from harness.schema.errors import InputError, StoreError
from harness.schema.record import Status
from tests.test_compare import side
from tests.trials import a_record, a_run_info, a_trial


def run_of(*repeats: int, status: Status = Status.OK, slower: float = 1.0, **info: str) -> StoredRun:
    records = [
        a_record(
            a_trial(repeat=repeat),
            status=status,
            metrics={"step_s": 0.1, "step_cpu_s": 0.2 * slower * (1 + 0.001 * repeat)},
        )
        for repeat in repeats
    ]
    return StoredRun(Path("runs/here"), a_run_info(**info), records)


def test_a_run_is_a_session_of_its_own_unless_it_names_one() -> None:
    assert {item.session for item in of_run(run_of(0, 1))} == {"here"}
    assert {item.session for item in of_run(run_of(0, 1, session="both"))} == {"both"}
    judged = compare(of_run(run_of(*range(6), session="s")), of_run(run_of(*range(6), session="s", slower=1.1)))
    assert [(each.metric, each.verdict) for each in judged] == [("step_s", "same"), ("step_cpu_s", "regressed")]


def test_cells_that_cannot_run_here_are_no_failed_rounds() -> None:
    assert of_run(run_of(0, status=Status.UNSUPPORTED)) == []
    (failed,) = of_run(run_of(0, status=Status.CRASHED))
    assert failed.status == "CRASHED"


def test_a_stored_run_is_read_with_its_warnings(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_run_info())
    for record in run_of(0, 1).records:
        folder.append(record, None)
    folder.finish()
    with (folder.folder / "steps.jsonl").open("a") as file:
        file.write('{"half": ')
    measured, warnings = read_side(folder.folder)
    assert len(measured) == 2
    assert len(warnings) == 1
    assert measured[0].label.startswith("gpt/nano ddp fp32")


def lines(path: Path, *texts: str) -> Path:
    path.write_text("\n".join(texts))
    return path


LINE = json.dumps({"schema": 1, "cell": "c", "round": "1", "session": "s", "metrics": {"step_s": 0.1}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINE[:-4], "f:2: expected a whole line of JSON (Expecting ',' delimiter at character 81)"),
        (LINE.replace('"cell"', '"sell"'), "f:2: cell: expected a value: it must be given"),
        (LINE.replace('"round": "1", ', ""), "f:2: round: expected a value: it must be given"),
        (LINE.replace("0.1", '"fast"'), "f:2: metrics.step_s: found 'fast', expected a valid number"),
        (LINE.replace('"schema": 1', '"schema": 99'), "f: schema: found 99, expected 1 at most: update the harness"),
    ],
)
def test_lines_that_are_no_rounds_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_file(lines(tmp_path / "f", LINE, text))
    assert said in str(raised.value).replace(str(tmp_path) + "/", "")


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none", lines(tmp_path / "empty", "")):
        with pytest.raises(InputError):
            read_side(path)
    with pytest.raises(StoreError):
        read_side(tmp_path)
    assert read_file(lines(tmp_path / "good", LINE, "", LINE))[0].cell == "c"


def test_what_differs_is_told_first() -> None:
    judged = compare(side(2), side(2, own=2, slower=1.2))
    labels = {"c0": "gpt/nano ddp", "c1": "gpt/nano fsdp"}
    said = in_words(judged, labels)
    assert said.startswith("Regressed: gpt/nano ddp step_s +")
    assert said.endswith("; 4 same.")
    console = Console(width=160)
    with console.capture() as text:
        console.print(comparison(judged, labels))
    assert "gpt/nano fsdp" in text.get()
    assert as_rows(judged, labels)[0]["label"] == "gpt/nano ddp"
    assert json.dumps(as_rows(judged, labels))


def test_nothing_shown_is_said_so() -> None:
    assert in_words([Judgement("c", "step_s", "undecided", "")], {}) == "No difference is shown: 1 undecided."
    assert in_words([], {}) == "Nothing was compared: neither side has a round."


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.031, "+3.1\u00a0%"), (0.996, "−0.4\u00a0%"), (2.5, "2.5×"), (0.25, "0.25×")]
)
def test_a_ratio_is_told_as_what_there_is_more(ratio: float, text: str) -> None:
    assert percent(ratio) == text


def test_a_file_of_something_else_is_one_problem(tmp_path: Path) -> None:
    """Not one per line: a file of pytest-benchmark cut off in the middle has thousands."""
    with pytest.raises(InputError) as raised:
        read_file(lines(tmp_path / "f", "{", ' "benchmarks": [', "  {", '   "group": null,'))
    (problem,) = raised.value.problems
    assert "f: found '{', expected a run folder, a file of measured rounds (JSON lines), or a file of pytest-b" in str(
        problem
    )
