"""The index: every run and session of a results folder, newest first, cheap to write again, whole without script."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.report import headlines
from harness.report.headlines import CACHE, entries
from harness.report.index import write_beside, write_index
from harness.report.page import write_page
from harness.run.stored import read_run
from harness.schema.errors import StoreError
from tests import synthetic_run as made

SMALL = made.Shape(workloads=("gpt",), truth={"single": 1.0, "ddp": 1.6}, precisions={"fp32": 1.0}, rounds=3, noise=0.0,
                   steps=5)  # fmt: skip
HOSTILE = '<script>alert(1)</script> "quoted" & \u202eback'


def run_of(results: Path, day: int, **info: Any) -> Path:
    """A run that began on this day of November."""
    run = made.synthetic_run(SMALL)
    run.info = run.info.model_copy(update={"started_at": f"2026-11-{day:02d}T14:00:00+00:00", **info})
    return made.kept(run, results)


def session_of(results: Path, name: str = "20261120T101500.000Z-lab-1-abc", **about: Any) -> Path:
    """A session of `harness ab` as it stands there after its end."""
    folder = results / "ab" / name
    folder.mkdir(parents=True)
    content = {"suite": "speed.toml", "started_at": "2026-11-20T10:15:00+00:00",
               "ended_at": "2026-11-20T10:17:00+00:00",
               "environment": {"host": "lab"}, "a": {"spec": "main", "commit": "0123456789abcdef"},
               "b": {"spec": "HEAD", "commit": "fedcba9876543210"}, "outcome": "regressed", "exit_code": 1}  # fmt: skip
    (folder / "ab.json").write_text(json.dumps(content | about))
    (folder / "b.jsonl").write_text('{"cell": "x"}\n{"cell": "y"}\n{"cell": "x"}\n{"ce')
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and a session between them, a run that cannot be read, and one of hostile text; a page of one."""
    folder = tmp_path_factory.mktemp("index") / "results"
    old, new = run_of(folder, 3, question="The old question?"), run_of(folder, 25, question="The new question?")
    session_of(folder)
    run_of(folder, 2, question=HOSTILE)
    broken = run_of(folder, 4)
    (broken / "run.json").write_text('{"half')
    write_page(read_run(new), folder.parent / "reports" / "new.html")
    assert old != new
    return folder


@pytest.fixture(scope="module")
def file(results: Path) -> Path:
    path = results.parent / "reports" / "index.html"
    write_index(results, path)
    return path


class Links(HTMLParser):
    """Headings with where they lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._target: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._target = dict(attributes)["href"]

    def handle_data(self, data: str) -> None:
        if self._target is not None:
            self.found.append((data, self._target))
            self._target = None


def test_all_are_there_newest_first_with_what_they_said(file: Path) -> None:
    text = file.read_text()
    plain = re.sub(r"<[^>]+>", "", text).replace("\u00a0", " ")
    order = [plain.index(part) for part in ("The new question?", "speed.toml: is HEAD (fedcba9876) slower than main",
                                            "The old question?", "&lt;script&gt;")]  # fmt: skip
    assert order == sorted(order)
    assert plain.count("ddp fp32 is 1.60×") == 3
    assert "Something is worse" in plain
    assert "3 rounds of 2 cells" in plain, "a torn line is no round"
    assert "cannot be understood" in plain
    assert "6 of 6 ok" in plain
    assert "Example CPU" in plain


def test_links_lead_to_the_page_where_there_is_one_else_to_the_folder(file: Path, results: Path) -> None:
    links = dict(Links(file.read_text()).found)
    assert links["The new question?"] == "new.html"
    assert links["The old question?"].startswith("../results/runs/")
    for target in links.values():
        if not target.startswith("#"):
            assert (file.parent / target).exists(), target


def test_hostile_text_is_text(file: Path) -> None:
    text = file.read_text()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert r"\u202eback" in text


def test_writing_it_again_studies_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    first, second = run_of(results, 1), run_of(results, 2)
    studied: list[str] = []
    study = headlines.study

    def counting(run: Any) -> Any:
        studied.append(run.folder.name)
        return study(run)

    monkeypatch.setattr(headlines, "study", counting)
    before = entries(results)
    assert sorted(studied) == sorted([first.name, second.name])
    studied.clear()
    assert entries(results) == before
    assert studied == []
    with open(first / "trials.jsonl", "a") as lines:
        lines.write("torn")
    changed = {entry.name: entry for entry in entries(results)}
    assert studied == [first.name]
    assert changed[first.name].warnings == 1
    shutil.rmtree(second)
    assert [entry.name for entry in entries(results)] == [first.name]


@pytest.mark.parametrize("content", ["{", "[]", '{"runs/x": {"state": 3}}', "null"])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, content: str) -> None:
    run_of(tmp_path, 1)
    expected = entries(tmp_path)
    (tmp_path / CACHE).write_text(content)
    assert entries(tmp_path) == expected


def test_entries_are_made_anew_by_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(tmp_path, 1)
    entries(tmp_path)
    monkeypatch.setattr(headlines, "_code", lambda: "another version")
    monkeypatch.setattr(headlines, "of_run", lambda folder: headlines.Entry(name=folder.name, folder="", kind="runs"))
    assert entries(tmp_path)[0].said == []


def test_a_session_that_was_interrupted_has_no_verdict(tmp_path: Path) -> None:
    folder = session_of(tmp_path)
    content = json.loads((folder / "ab.json").read_text())
    for key in ("outcome", "ended_at", "exit_code"):
        del content[key]
    (folder / "ab.json").write_text(json.dumps(content))
    (entry,) = entries(tmp_path)
    assert "interrupted" in entry.said[0].parts[0][0]
    (folder / "ab.json").unlink()
    assert "has no ab.json" in entries(tmp_path)[0].problem


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"a": None}, "ab.json: a: found None, expected an object with spec"),
        ({"b": {"commit": "0123"}}, "ab.json: b: found {'commit': '0123'}, expected an object with spec"),
        ({"outcome": "won"}, "ab.json: outcome: found 'won', expected one of passed, regressed"),
        ({"environment": ["lab"], "lasting_cells": 3}, ""),
    ],
)
def test_a_session_whose_file_is_damaged_says_where(tmp_path: Path, about: dict[str, Any], said: str) -> None:
    session_of(tmp_path, **about)
    (entry,) = entries(tmp_path)
    assert said in entry.problem
    assert bool(entry.problem) is bool(said)


def test_the_index_is_written_beside_a_page_but_over_nothing_of_others(tmp_path: Path) -> None:
    results, site = tmp_path / "results", tmp_path / "site"
    run = run_of(results, 1)
    done = CliRunner().invoke(app, ["report", str(run), "-o", str(site / "page.html")])
    assert done.exit_code == 0, done.output
    assert 'href="page.html"' in (site / "index.html").read_text()
    assert write_beside(site / "page.html", results) == site / "index.html", "its own is written anew"
    (site / "index.html").write_text("<h1>My own site</h1>")
    assert write_beside(site / "page.html", results) is None
    assert (site / "index.html").read_text() == "<h1>My own site</h1>"
    assert write_beside(site / "index.html", results) is None, "the page itself is the index.html"


def test_index_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    out = tmp_path / "index.html"
    done = CliRunner().invoke(app, ["index", "--results", str(tmp_path / "results"), "-o", str(out)])
    assert done.exit_code == 0
    assert "No run is stored here yet" in out.read_text()
    missing = CliRunner().invoke(app, ["index", "--results", str(tmp_path / "resluts"), "-o", str(out)])
    assert "found no folder" in str(missing.exception)


def test_a_results_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="runs"):
        entries(tmp_path)
