"""`harness compare` and `harness gate` as they are typed: exit codes, files, messages."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.report import gate_files
from harness.schema.errors import InputError, StoreError
from harness.schema.measured import Measured
from tests.test_compare import side


def kept(path: Path, measured: list[Measured]) -> str:
    path.write_text("".join(item.model_dump_json(by_alias=True) + "\n" for item in measured))
    return str(path)


def gate(tmp_path: Path, a: list[Measured], b: list[Measured], *options: str) -> Result:
    command = ["gate", "--baseline", kept(tmp_path / "a.jsonl", a), "--candidate", kept(tmp_path / "b.jsonl", b)]
    return CliRunner().invoke(app, [*command, *options])


@pytest.mark.parametrize(
    ("b", "options", "code", "outcome"),
    [
        (side(own=2), [], 0, "nothing is worse"),
        (side(own=2, slower=1.2), [], 1, "something is worse"),
        (side(own=2, cell="new"), [], 3, "something cannot be compared"),
        (side(own=2, machine="another"), [], 3, "something cannot be compared"),
        (side(own=2, rounds=20, slower=1.012), ["--strict"], 4, "not everything is decided"),
    ],
)
def test_exit_codes(tmp_path: Path, b: list[Measured], options: list[str], code: int, outcome: str) -> None:
    done = gate(tmp_path, side(), b, *options)
    assert (done.exit_code, outcome in done.stdout) == (code, True), done.output


def test_nothing_measured_is_no_pass(tmp_path: Path) -> None:
    done = gate(tmp_path, [], side())
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2


def test_files_of_a_gate(tmp_path: Path) -> None:
    names = {kind: tmp_path / "out" / f"gate.{kind}" for kind in ("json", "junit", "markdown")}
    done = gate(tmp_path, side(), side(own=2, slower=1.2), *(f"--{kind}={path}" for kind, path in names.items()))
    assert done.exit_code == 1
    assert json.loads(names["json"].read_text())["outcome"] == "regressed"
    assert ET.parse(names["junit"]).getroot().get("failures") == "2"
    assert "something is worse" in names["markdown"].read_text()


@pytest.mark.parametrize("asked", ["as_json", "junit", "markdown"])
def test_a_format_is_made_only_where_its_file_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    made: list[str] = []
    for name in ("as_json", "junit", "markdown"):
        monkeypatch.setattr(gate_files, name, lambda *_arguments, name=name: made.append(name) or "text")
    option = f"--{asked.removeprefix('as_')}={tmp_path / 'gate'}"
    assert gate(tmp_path, side(), side(own=2), option).exit_code == 0
    assert made == [asked]
    assert (tmp_path / "gate").read_text() == "text"


def test_a_file_that_cannot_be_written_is_an_error_not_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    done = gate(tmp_path, side(), side(own=2), f"--json={tmp_path / 'out' / 'gate.json'}")
    assert isinstance(done.exception, StoreError)


def test_compare_tells_people_and_programs(tmp_path: Path) -> None:
    sides = [kept(tmp_path / "a", side(label="gpt ddp")), kept(tmp_path / "b", side(own=2, slower=1.2))]
    done = CliRunner().invoke(app, ["compare", *sides])
    assert done.exit_code == 0
    assert done.stdout.startswith("Regressed: c0 step")
    content = json.loads(CliRunner().invoke(app, ["compare", *sides, "--json"]).stdout)
    assert {each["verdict"] for each in content["judgements"]} == {"regressed", "same"}
    null = kept(tmp_path / "null", side(own=3, slower=1.2))
    assert CliRunner().invoke(app, ["compare", *sides, "--null", null]).stdout.startswith("No difference is shown")
