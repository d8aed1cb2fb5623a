"""The page in a real browser: loads nothing, breaks nothing, readable wide and narrow, light and dark, without script.

One browser for all tests; it is told to talk to nobody.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.report.page import write_page
from harness.run.stored import StoredRun
from tests import synthetic_recipes as recipes
from tests import synthetic_run as made

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", shutil.which("chromium")) if path and Path(path).exists()), None
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
LOOKS = [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")]


@dataclass
class Opened:
    """A page with what went wrong in it and what it asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(made.broken_run(stderr="<b>last words</b>\x1b[31m" + "y" * 3000), path)
    return path


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One group only: looking at every element from four sides takes its time."""
    path = tmp_path_factory.mktemp("smaller") / "page.html"
    write_page(made.broken_run(workloads=("gpt",)), path)
    return path


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


@pytest.fixture
def shown(chromium: Any, file: Path) -> Iterator[Any]:
    found = opened(chromium, file)
    yield found.page
    found.page.context.close()
    assert found.complaints == []


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_quiet_accessible_and_no_wider_than_the_window(chromium: Any, smaller: Path, width: int, scheme: str) -> None:
    found = opened(chromium, smaller, width, scheme)
    found.page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    violations = axe.Axe().run(found.page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in violations] == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [smaller.as_uri()]
    found.page.context.close()


SECTIONS: dict[str, Callable[[], StoredRun]] = {
    "scaling": lambda: made.scaling_run(noise=0.5),
    "compiling": made.compiled_run,
    "learning": lambda: recipes.recipes_run(recipes.Recipes(gaps={"adamw": 0.05, "lion": 0.08})),
    "workloads": recipes.workloads_run,
}
BOTH = [(name, *look) for name in ("scaling", "compiling") for look in LOOKS]
ALL = [*BOTH, ("learning", *LOOKS[0]), ("learning", *LOOKS[3]), ("workloads", *LOOKS[1]), ("workloads", *LOOKS[2])]
"""Every section wide and narrow, light and dark; those of learning share their charts."""


@pytest.mark.parametrize(("name", "width", "scheme"), ALL)
def test_sections_that_only_some_runs_have(chromium: Any, tmp_path: Path, name: str, width: int, scheme: str) -> None:
    path = tmp_path / f"{name}.html"
    write_page(SECTIONS[name](), path)
    found = opened(chromium, path, width, scheme)
    section = found.page.locator(f"#r0-{name}")
    assert section.is_visible()
    found.page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    options = {"resultTypes": ["violations"]}
    violations = axe.Axe().run(found.page, context=f"#r0-{name}", options=options).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in violations] == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith("data:")] == [path.as_uri()]
    outside = """svg => {
        const inside = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text, .m')].filter(mark => {
            const at = mark.getBoundingClientRect();
            const across = at.left < inside.left - 1 || at.right > inside.right + 1;
            return across || at.top < inside.top - 1 || at.bottom > inside.bottom + 1;
        }).map(mark => mark.textContent);
    }"""
    for drawn in section.locator("svg:visible").all() + found.page.locator("#r0g0-changes svg:visible").all():
        assert drawn.evaluate(outside) == [], "all marks and texts are inside their picture"
        drawn.evaluate("svg => svg.insertAdjacentHTML('beforeend', '<text x=-90 y=20>out</text>')")
        assert drawn.evaluate(outside) == ["out"], "the check above would not notice it"
    found.page.context.close()


def test_the_checks_above_notice_what_they_look_for(chromium: Any, file: Path) -> None:
    bad = file.with_name("bad.html")
    planted = '<img src="http://127.0.0.1:9/x.png"><p class="wide-thing">w</p><script>1</script></main>'
    style = ".brand { color: #bbb !important } .wide-thing { width: 3000px }"
    policy_off = file.read_text().replace("Content-Security-Policy", "X-Nothing")
    bad.write_text(policy_off.replace("</main>", planted).replace("</style>", style + "</style>"))
    found = opened(chromium, bad, 360)
    violations = axe.Axe().run(found.page, context={"include": [[".brand"], ["main > img"]]}).response["violations"]
    assert {"image-alt", "color-contrast"} <= {v["id"] for v in violations}
    assert found.page.evaluate("document.documentElement.scrollWidth") > 360
    assert any("127.0.0.1" in url for url in found.requests)
    found.page.context.close()
    bad.write_text(file.read_text().replace("</main>", planted))
    blocked = opened(chromium, bad)
    assert sum("Content Security Policy" in complaint for complaint in blocked.complaints) == 2, "picture and script"
    blocked.page.context.close()


def test_pictures_fit_the_width(chromium: Any, file: Path) -> None:
    for width, seen, unseen in ((1440, "wide", "narrow"), (360, "narrow", "wide")):
        found = opened(chromium, file, width)
        assert found.page.locator(f".{seen} svg").first.is_visible()
        assert not found.page.locator(f".{unseen} svg").first.is_visible()
        sizes = found.page.evaluate(
            f"[...document.querySelectorAll('.{seen} svg')].map(svg => svg.clientWidth / svg.viewBox.baseVal.width)"
        )
        assert all(0.85 <= size <= 1.15 for size in sizes), "text in pictures keeps the size of the text around them"
        found.page.context.close()


def test_the_filter_hides_a_strategy_and_stays_in_the_address(shown: Any) -> None:
    rows = shown.locator("#r0g0-cells tbody tr")
    assert rows.filter(has_text="ddp").first.is_visible()
    shown.get_by_role("button", name="ddp").click()
    assert not rows.filter(has_text="ddp").first.is_visible()
    assert rows.filter(has_text="single fp32").first.is_visible()
    assert shown.locator("#r0g0-ratios .wide .off").count() > 0
    assert shown.url.endswith("#hide=ddp")
    shown.reload()
    shown.wait_for_selector("button[aria-pressed=false]")
    assert not rows.filter(has_text="ddp").first.is_visible()
    shown.get_by_role("button", name="ddp").click()
    assert rows.filter(has_text="ddp").first.is_visible()
    assert "hide" not in shown.url


def test_hiding_all_shows_all_again(shown: Any) -> None:
    buttons = shown.locator(".chip button")
    for number in range(buttons.count()):
        buttons.nth(number).click()
    assert shown.locator(".chip button[aria-pressed=true]").count() == buttons.count()


def test_tables_sort_by_value(shown: Any) -> None:
    def column(number: int) -> list[str]:
        return shown.locator(f"#r0g0-cells tbody td:nth-child({number})").all_inner_texts()

    shown.locator("#r0g0-cells th", has_text="throughput").locator("button").click()
    figures = [float(text.replace(",", "")) for text in column(5) if text != "–"]
    assert figures == sorted(figures, reverse=True)
    assert column(5)[-3:] == ["–"] * 3, "what is absent comes last"
    shown.locator("#r0g0-cells th", has_text="throughput").locator("button").click()
    assert [float(text.replace(",", "")) for text in column(5) if text != "–"] == sorted(figures)
    assert shown.locator("#r0g0-cells th[aria-sort=ascending]").count() == 1
    shown.locator("#r0g0-cells th", has_text="cell").first.locator("button").click()
    assert column(1) == sorted(column(1), key=str.lower)


def test_the_trials_can_be_searched(shown: Any) -> None:
    shown.get_by_label("Show rows with").first.fill("resnet timeout")
    rows = shown.locator("#r0-trials tbody tr:visible")
    assert rows.count() == 1
    assert "TIMEOUT" in rows.inner_text()
    assert shown.locator("output").first.inner_text() == "1 of 64"


def test_pointing_at_a_mark_shows_its_values(shown: Any) -> None:
    mark = shown.locator("#r0g0-memory .wide .m:not(text)").last
    mark.scroll_into_view_if_needed()
    mark.hover()
    tip = shown.locator(".tip")
    tip.wait_for(state="visible")
    assert "tokens/s" in tip.inner_text()
    assert shown.locator("#r0g0-memory svg title").count() == 0, "the browser's own tooltip does not come on top"
    shown.mouse.move(1, 1)
    tip.wait_for(state="hidden")


def test_narrow_marks_say_the_same(chromium: Any, file: Path) -> None:
    found = opened(chromium, file, 360)
    mark = found.page.locator("#r0g0-memory .narrow .m:not(text)").last
    mark.scroll_into_view_if_needed()
    mark.hover()
    found.page.locator(".tip").wait_for(state="visible")
    assert "tokens/s" in found.page.locator(".tip").inner_text()
    found.page.context.close()


def test_links_lead_to_their_sections(shown: Any) -> None:
    shown.get_by_role("link", name="Failures").click()
    assert shown.locator("#r0-failures h2").evaluate("el => el.getBoundingClientRect().top") < 300
    assert shown.evaluate("document.activeElement.id") == "r0-failures"


def test_last_words_are_text(shown: Any) -> None:
    shown.get_by_text("Last words").first.click()
    words = shown.locator("#r0-failures pre").first
    assert r"<b>last words</b>\x1b[31myyy" in words.inner_text()
    assert words.evaluate("el => el.scrollWidth <= el.clientWidth + 1"), "long lines wrap"


def test_without_javascript_everything_is_there(chromium: Any, file: Path) -> None:
    found = opened(chromium, file, java_script_enabled=False)
    assert found.page.locator(".wide svg").count() == 18
    assert found.page.locator(".wide svg").first.is_visible()
    assert found.page.locator("#r0-trials tbody tr").count() == 64
    assert found.page.locator(".chip").first.is_visible()
    assert found.page.locator("button, input").count() == 0, "no switch that does nothing"
    assert found.page.locator("svg .m title").count() > 100, "the browser's own tooltips say the values"
    found.page.get_by_text("Last words").first.click()
    assert found.page.locator("#r0-failures pre").first.is_visible()
    found.page.context.close()
