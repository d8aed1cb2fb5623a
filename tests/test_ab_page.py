"""The page of a session of `harness ab`: its answer, its pictures, in a browser, on paper; and what is no session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.analyse.ab_sessions import read_session
from harness.report.ab_page import ab_page, write_ab
from harness.run.store import SESSION_FILE
from tests.browser import LOOKS, check_quiet_accessible_and_fitting, opened
from tests.histories import write_session
from tests.test_cli import harness
from tests.test_page_browser import chromium, on_paper, pytestmark

__all__ = ["chromium", "pytestmark"]


@pytest.fixture(scope="module")
def slowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_session(tmp_path_factory.mktemp("slowed"), 1, 1.05, peak=1200.0)


@pytest.fixture(scope="module")
def file(slowed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "ab.html"
    write_ab(read_session(slowed), path)
    return path


def answer(html: str) -> str:
    return re.search(r'class="headline"><strong>(.*?)</strong>', html).group(1)  # type: ignore[union-attr]


def test_a_slow_down_and_identical_code_are_told_apart(slowed: Path, tmp_path: Path) -> None:
    html = ab_page(read_session(slowed))
    assert answer(html) == "Something is worse."
    assert "peak_allocated_bytes +20.0" in html
    assert '<tr class="bad "><td>gpt/nano single fp32<td>regressed<td>step_cpu_s' in html
    alike = ab_page(read_session(write_session(tmp_path, 2, 1.0)))
    assert answer(alike) == "Nothing is worse."
    assert "regressed<td>" not in alike


def test_every_round_is_drawn_beside_its_control(file: Path) -> None:
    html = file.read_text()
    figure = html.split('id="step_cpu_s-rounds"')[1].split("</figure>")[0]
    assert len(re.findall(r"round|fp32, \d+: B ", figure)) >= 12
    assert figure.count(": B ") == figure.count(": A once more ") == 12


def test_confirming_rounds_are_judged_alone(slowed: Path) -> None:
    session = read_session(slowed)
    assert not session.stages[1]["a"], "none of these rounds confirms"
    for items in session.rounds.values():
        items[:] = [item.model_copy(update={"round": f"confirm {item.round}"}) for item in items]
    only, confirmed = session.stages
    assert not only["b"]
    assert len(confirmed["b"]) == 12
    assert answer(ab_page(session)) == "Something is worse."


def test_no_control_and_changes_without_a_commit_are_caveats(tmp_path: Path) -> None:
    folder = write_session(tmp_path, 3, 1.0, dirty=True)
    (folder / "null.jsonl").write_text("")
    html = ab_page(read_session(folder))
    assert "B was not as committed" in html
    assert "There is no control" in html


def test_what_comes_from_outside_is_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"&\u202e' + "x" * 10_000
    told = {"spec": evil, "commit": "", "dirty": False}
    session = read_session(write_session(tmp_path, 4, 1.05, suite=evil, a=told))  # type: ignore[arg-type]
    for items in session.rounds.values():
        items[:] = [item.model_copy(update={"label": evil}) for item in items]
    html = ab_page(session)
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert len(html) < 300_000


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_quiet_accessible_and_no_wider_than_the_window(chromium: Any, file: Path, width: int, scheme: str) -> None:
    check_quiet_accessible_and_fitting(chromium, file, width, scheme)


def test_on_paper_nothing_is_cut_off(chromium: Any, file: Path) -> None:
    found = opened(chromium, file)
    assert on_paper(found.page) == []
    found.close()


def test_the_command_writes_it_and_the_index_leads_to_it(slowed: Path, tmp_path: Path) -> None:
    page = tmp_path / "ab.html"
    done = harness("report", str(slowed), "-o", str(page))
    assert done.returncode == 0, done.stderr
    assert answer(page.read_text()) == "Something is worse."
    assert 'href="ab.html"' in (tmp_path / "index.html").read_text()


def test_a_session_among_runs_or_one_cut_off_is_refused(slowed: Path, tmp_path: Path) -> None:
    page = tmp_path / "ab.html"
    several = harness("report", str(slowed), str(tmp_path), "-o", str(page))
    assert several.returncode == 2
    assert "expected it alone" in several.stderr
    cut = write_session(tmp_path, 5, 1.0, ended_at="")
    assert (cut / SESSION_FILE).is_file()
    refused = harness("report", str(cut), "-o", str(page))
    assert refused.returncode == 2
    assert "the session was cut off" in refused.stderr
    assert not page.exists()
