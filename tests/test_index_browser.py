"""The index in a real browser: quiet, accessible, no wider than the window; filters, and is whole without script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import LOOKS, check_quiet_accessible_and_fitting, opened
from tests.test_index import file, results
from tests.test_page_browser import chromium, on_paper, pytestmark

__all__ = ["chromium", "file", "pytestmark", "results"]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_quiet_accessible_and_no_wider_than_the_window(chromium: Any, file: Path, width: int, scheme: str) -> None:
    check_quiet_accessible_and_fitting(chromium, file, width, scheme)


def test_on_paper_nothing_is_cut_off(chromium: Any, file: Path) -> None:
    found = opened(chromium, file)
    assert on_paper(found.page) == []
    found.close()


def test_words_filter_the_runs_and_stand_in_the_url(chromium: Any, file: Path) -> None:
    page = opened(chromium, file).page
    headings = page.locator(".runs > li:visible h2")
    everything = headings.count()
    page.get_by_label("Show runs with").fill("NEW ddp")
    assert headings.all_inner_texts() == ["The new question?"]
    assert page.locator("output").inner_text() == f"1 of {everything}"
    page.reload()
    assert headings.all_inner_texts() == ["The new question?"]
    page.get_by_label("Show runs with").fill("")
    assert headings.count() == everything
    page.context.close()


def test_without_script_it_is_a_plain_list(chromium: Any, file: Path) -> None:
    page = opened(chromium, file, java_script_enabled=False).page
    assert page.locator(".runs > li:visible h2").count() == 5
    assert page.locator("input").count() == 0
    page.context.close()
