"""Chromium for tests and benchmarks: Debian's, told to talk to nobody, and a page with what went wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", shutil.which("chromium")) if path and Path(path).exists()), None
)
LOOKS = [(width, scheme) for width in (360, 768, 1440) for scheme in ("light", "dark")]
"""Widths and colour schemes for what is looked at from six sides."""
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium_for_tests() -> Iterator[Any]:
    """A running Chromium; what needs it is skipped, with the command that adds what is missing, where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@dataclass
class Opened:
    """A page with what went wrong in it and what it asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def loaded_beside(self, file: Path) -> list[str]:
        """What it asked for beside its own file."""
        return [url for url in self.requests if not url.startswith("data:") and url != file.as_uri()]

    def close(self) -> None:
        """Close it and all that belongs to it."""
        self.page.context.close()


def opened(chromium: Any, file: Path, width: int = 1440, scheme: str = "light", **options: Any) -> Opened:
    """The file in a browser context of its own."""
    size = {"width": width, "height": 900}
    context = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", **options)
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(file.as_uri())
    return found


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """What axe complains about: the rule, and up to three elements. It is put into the page once."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.Axe().axe_script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)")
    return [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]


def check_quiet_accessible_and_fitting(chromium: Any, file: Path, width: int, scheme: str) -> None:
    """No violation of axe, nothing wider than the window, no console message, and no request but for the file."""
    found = opened(chromium, file, width, scheme)
    assert violations(found.page) == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [file.as_uri()]
    found.close()
