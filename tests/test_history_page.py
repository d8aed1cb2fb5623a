"""The page of a history in a real browser: loads nothing, breaks nothing, readable wide and narrow, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analyse.history import Change, Point, Series, with_changes
from harness.report.history_page import history_page, write_history
from harness.report.history_text import as_rows, sentence
from tests.browser import LOOKS, check_quiet_accessible_and_fitting, opened
from tests.histories import CONTROL, commit
from tests.test_page_browser import chromium, on_paper, pytestmark

__all__ = ["chromium", "pytestmark"]
NASTY = '<script>alert(1)</script>"\u202e' + "x" * 3000


def a_series(label: str = "gpt/nano single fp32", versions: int = 60, **changes: Any) -> Series:
    import numpy as np

    draw = np.random.default_rng(8)
    ratios = np.exp(draw.normal(0, 0.008, versions)) * np.where(np.arange(versions) >= 34, 1.05, 1.0)
    points = [
        Point(commit(number), commit(number), f"2026-01-{1 + number // 3:02d}", f"session {number}", float(ratio),
              float(ratio) * 0.99, float(ratio) * 1.01, 20, subject="a commit")
        for number, ratio in enumerate(ratios)
    ]  # fmt: skip
    known: dict[str, Any] = {"metric": "step_cpu_s", "cell": "c", "machine": "m", "source": "sessions"}
    return with_changes(
        Series(**{**known, "label": label, "control": CONTROL, "counted": False, "points": points, **changes})
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "page.html"
    write_history([a_series(), a_series(NASTY, 5)], path, ["a session was cut off", NASTY])
    return path


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_nothing_is_broken_or_loaded(chromium: Any, file: Path, width: int, scheme: str) -> None:
    check_quiet_accessible_and_fitting(chromium, file, width, scheme)


def test_on_paper_nothing_is_cut_off(chromium: Any, file: Path) -> None:
    found = opened(chromium, file)
    assert on_paper(found.page) == []
    found.close()


def test_what_comes_from_outside_is_text(file: Path) -> None:
    text = file.read_text()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert file.stat().st_size < 120_000


def test_one_point_and_many_give_a_page() -> None:
    few, many = history_page([a_series(versions=1)]), history_page([a_series(versions=1000)])
    assert few.count("<svg") == 1
    assert "1\u00a0version: changes of what is timed are looked for from 16 on" in few
    assert "The newest 400 of 1,000" in many


def test_every_standing_is_told() -> None:
    series = a_series()
    (change,) = series.changes
    told = {
        standing: sentence(series, Change(change.at, change.seen, 1.0, 1.05, standing, "S: why"))
        for standing in ("to be confirmed", "regression", "improvement", "not confirmed")
    }  # type: ignore[arg-type]
    assert ": regression. Shown by S: why" in told["regression"]
    assert "up to 3 versions to either side: harness ab --a" in told["not confirmed"]
    assert as_rows([series])[0]["changes"][0]["ask"] in told["to be confirmed"]
