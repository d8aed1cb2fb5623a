"""`harness history` as it is typed: tables, JSON, page, messages, and `--confirm`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli import ab, app
from harness.cli import history as command
from harness.run.executors import local
from harness.run.invocation import Ready
from harness.run.plan import Plan
from harness.schema.errors import HarnessError, InputError, UnknownName
from tests.histories import commit, stepped_sessions, write_run, write_session
from tests.trials import a_trial


def history(results: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["history", *arguments, "--results", str(results)])


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("stepped")
    stepped_sessions(results)
    return results


def test_the_table_marks_the_change_and_says_how_to_ask(stepped: Path) -> None:
    done = history(stepped, "step_cpu_s")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1\u00a0change (1 to be confirmed) in 1\u00a0series, 40\u00a0points.")
    (marked,) = [line for line in done.stdout.splitlines() if "◀" in line]
    assert "to be confirmed" in marked
    at = int(marked.strip()[:3], 16)
    sides = f"--a {commit(at - 1)[:12]} --b {commit(at)[:12]}"
    assert f"harness ab {sides} speed.toml --plugin model.py --results {stepped}" in done.stdout


def test_json_holds_every_point_and_the_command(stepped: Path) -> None:
    (series,) = json.loads(history(stepped, "step_cpu_s", "--json").stdout)
    assert len(series["points"]) == 40
    (change,) = series["changes"]
    assert change["worse"] is True
    assert change["commit_after"] == series["points"][change["at"]]["commit"]
    assert change["ask"].startswith("harness ab --a ")


def test_wrong_names_get_the_nearest_right_one(stepped: Path) -> None:
    unknown = history(stepped, "step_cpu")
    assert isinstance(unknown.exception, UnknownName)
    assert "did you mean 'step_cpu_s'?" in str(unknown.exception)
    cell = history(stepped, "step_cpu_s", "--cell", "gpt/nano singel")
    assert isinstance(cell.exception, UnknownName)
    assert "did you mean 'gpt/nano single fp32'?" in str(cell.exception)
    assert history(stepped, "step_cpu_s", "--cell", "NANO").exit_code == 0


def test_nothing_found_says_what_there_is(stepped: Path, tmp_path: Path) -> None:
    nothing = history(tmp_path, "step_s")
    assert isinstance(nothing.exception, HarnessError)
    assert nothing.exception.exit_code == 2
    assert "`harness ab --a CONTROL --b COMMIT SUITE.toml` makes them" in str(nothing.exception)
    other = history(stepped, "compile_s")
    assert "they hold peak_allocated_bytes, step_cpu_s, step_s" in str(other.exception)


def test_runs_count_where_their_baseline_is_said_to_be_the_anchor(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0.6)
    (write_run(tmp_path, 1, 0.6) / "run.json").write_text('{"half": ')
    assert isinstance(history(tmp_path, "step_s").exception, HarnessError)
    done = history(tmp_path, "step_s", "--baseline-is-anchor")
    assert "step_s of gpt/nano ddp against single" in done.stdout
    assert "the run is left out" in done.stderr
    assert "changes of what is timed are looked for from 16 on" in done.stdout


# --confirm


def confirming(monkeypatch: pytest.MonkeyPatch, results: Path, *slower: float) -> list[Any]:
    """Sessions that are asked for are made by hand, with B so much slower, one after the other; on machine `m`."""
    asked: list[Any] = []

    def play(specs: tuple[str, str], wanted: Any, rounds: int, cells: set[str]) -> tuple[Any, list[Any]]:
        folder = write_session(results, 99 + len(asked), slower[len(asked)], a=specs[0], b=specs[1])
        asked.append((specs, wanted, rounds, cells))
        return SimpleNamespace(folder=folder), []

    monkeypatch.setattr(command, "played", play)
    monkeypatch.setattr(local, "probe", lambda: SimpleNamespace(machine_key="m"))
    return asked


def test_confirm_asks_for_the_two_commits_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped_sessions(tmp_path)
    asked = confirming(monkeypatch, tmp_path, 1.05)
    done = history(tmp_path, "step_cpu_s", "--confirm", "speed.toml", "--plugin", "model.py", "--rounds", "8")
    (((before, after), wanted, rounds, cells),) = asked
    assert int(after[:3], 16) == int(before[:3], 16) + 1
    assert (wanted.suite_file, wanted.plugins, rounds, cells) == (Path("speed.toml"), (Path("model.py"),), 8, {"cell"})
    assert done.exit_code == 1, done.output
    assert ": regression. Shown by " in done.stdout
    assert history(tmp_path, "step_cpu_s", "--confirm", "speed.toml").exit_code == 1
    assert len(asked) == 1, "what a session has decided is not asked again"


@pytest.mark.parametrize(("slower", "word", "code"), [(1.05, "regression", 1), (1.0, "not confirmed", 0)])
def test_where_the_two_show_nothing_those_around_them_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slower: float, word: str, code: int
) -> None:
    stepped_sessions(tmp_path)
    asked = confirming(monkeypatch, tmp_path, 1.0, slower)
    done = history(tmp_path, "step_cpu_s", "--confirm", "speed.toml")
    apart = [int(after[:3], 16) - int(before[:3], 16) for (before, after), *_rest in asked]
    assert (apart, done.exit_code) == ([1, 7], code)
    assert f": {word}. " in done.stdout
    assert "3 versions to both sides" in done.stdout


def test_a_change_of_another_machine_is_not_asked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped_sessions(tmp_path)
    asked = confirming(monkeypatch, tmp_path)
    monkeypatch.setattr(local, "probe", lambda: SimpleNamespace(machine_key="n"))
    done = history(tmp_path, "step_cpu_s", "--confirm", "speed.toml")
    assert (asked, done.exit_code) == ([], 0)
    assert "of machine m, this is n: confirm it there" in done.output


def test_confirm_refuses_a_suite_without_the_cell(tmp_path: Path) -> None:
    checked = Ready(None, Plan([a_trial(), a_trial(strategy="fsdp")]), None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a suite with the cells that changed"):
        ab._only(checked, {"0123"}, tmp_path)
    kept = ab._only(checked, {a_trial().lasting_cell}, tmp_path)
    assert [trial.strategy.name for trial in kept.plan.trials] == ["ddp"]


# the page


def test_a_page_is_written_that_holds_the_same(stepped: Path, tmp_path: Path) -> None:
    page = tmp_path / "history.html"
    done = history(stepped, "step_cpu_s", "-o", str(page))
    assert done.stdout.splitlines()[-1] == str(page)
    text = page.read_text()
    assert "to be confirmed" in text
    assert text.count("<svg") == 1
    assert "http" not in text.replace("http-equiv", "")
