"""`harness show` of stored runs: the same answer as after the run, JSON for programs, damage named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.analyse.answer import answers
from harness.analyse.study import study
from harness.cli import app
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made


def show(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


def small() -> made.Shape:
    return made.Shape(workloads=("gpt",), precisions={"fp32": 1.0}, rounds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.kept(made.broken_run(workloads=("gpt",)), tmp_path_factory.mktemp("show") / "results")


def test_a_stored_run_says_what_it_said_when_it_ran(folder: Path) -> None:
    done = show(folder)
    assert done.exit_code == 0
    text = done.output.replace("\u00a0", " ")
    order = [text.index(part) for part in ("Which strategy trains fastest", "is 1.6", "× baseline", "OOM gpt/nano ddp")]
    assert order == sorted(order)


def test_latest_is_the_newest_of_the_results_folder(folder: Path) -> None:
    assert show("--latest", "--results", folder.parent.parent).output == show(folder).output


def test_several_runs_stand_under_one_another_each_with_its_folder(folder: Path) -> None:
    text = show(folder, folder).output
    assert text.count(folder.name) == 2


def test_json_has_the_answer_every_cell_and_every_failure(folder: Path) -> None:
    (found,) = json.loads(show(folder, "--json").stdout)
    expected = study(made.broken_run(workloads=("gpt",)))
    assert found["run"] == folder.name
    assert found["groups"][0]["headline"] == "".join(part.text for part in answers(expected)[0].headline)
    assert [cell["label"] for cell in found["groups"][0]["cells"]] == [cell.label for cell in expected.groups[0].order]
    assert found["failed"] == len(found["failures"]) == 4
    assert {each["status"] for each in found["failures"]} == {"OOM", "CRASHED"}


@pytest.mark.parametrize("run", [made.only_failures, made.with_holes, made.one_cell, recipes.recipes_run])
def test_json_of_any_run_is_json(run: object, tmp_path: Path) -> None:
    text = show(made.kept(run(), tmp_path), "--json").stdout  # type: ignore[operator]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse)[0]["groups"]


def test_what_is_missing_is_said_and_the_other_run_is_shown_all_the_same(tmp_path: Path) -> None:
    whole, damaged, gone = (made.kept(made.synthetic_run(small()), tmp_path) for _ in range(3))
    (gone / "run.json").unlink()
    (damaged / "trials.jsonl").unlink()
    next(damaged.glob("steps.*")).unlink()
    done = show(whole, damaged, gone)
    text = " ".join(done.output.split())
    assert done.exit_code == 2
    assert "has no run.json: expected a folder that `harness run` wrote" in text
    assert "trials.jsonl: is not there" in text
    assert "nothing is known step by step" in text
    assert "× baseline" in text, "the whole one"
    assert "is not there" not in show(whole).output, "control: the whole one lacks nothing"


def test_nothing_named_says_what_to_do(tmp_path: Path) -> None:
    done = show("--latest", "--results", tmp_path)
    assert isinstance(done.exception, Exception)
    assert "expected RUN or --latest" in str(done.exception)
