"""The page in a real browser: loads nothing, breaks nothing, readable wide and narrow, light and dark, without script.

One browser for all tests; it is told to talk to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.report.page import write_page
from tests import synthetic_run as made
from tests.browser import CHROMIUM, Opened, chromium_for_tests, opened, violations
from tests.suite_kinds import MORE, POOR, SUITES, page_of
from tests.test_page import HOSTILE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
WIDTHS = (360, 768, 1440)
SCHEMES = ("light", "dark")
OPEN_ALL = "for (const details of document.querySelectorAll('details')) details.open = true"
OVERFLOW = """() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? ["page"] : [];
    const boxes = [...document.querySelectorAll("figure, .tile, article, .answers, .table")];
    const over = boxes.filter(box => box.getBoundingClientRect().right > innerWidth + 1);
    return wide.concat(over.map(box => box.className));
}"""
ALIKE_ONCE = """() => {
    for (const list of document.querySelectorAll("tbody, dl, svg g")) {
        const seen = {};
        for (const child of [...list.children]) {
            const look = child.tagName + child.getAttribute("class") + child.getAttribute("fill");
            seen[look] = (seen[look] || 0) + 1;
            if (seen[look] > 2) child.remove();
        }
    }
}"""
"""Rows, terms and marks that look the same are looked at twice, not a hundred times: axe takes its time."""
OUTSIDE = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
    const inside = svg.getBoundingClientRect();
    return inside.width === 0 ? [] : [...svg.querySelectorAll("text, .m")].filter(mark => {
        const at = mark.getBoundingClientRect();
        const across = at.left < inside.left - 1 || at.right > inside.right + 1;
        return across || at.top < inside.top - 1 || at.bottom > inside.bottom + 1;
    }).map(mark => `${svg.getAttribute("aria-labelledby")}: ${mark.textContent}`);
})"""


PAPER = """() => {
    const page = document.documentElement.scrollWidth > innerWidth ? ["page"] : [];
    const seen = element => element.getClientRects().length > 0;
    const height = element => element.getBoundingClientRect().height;
    const figures = [...document.querySelectorAll("figure")].filter(
        figure => getComputedStyle(figure).breakInside !== "avoid" || height(figure) > 1031);
    const bars = [...document.querySelectorAll(".bar, .search, .skip, th > button")].filter(seen);
    const shut = [...document.querySelectorAll("details > :last-child")].filter(box => !box.checkVisibility(
        {contentVisibilityAuto: true}));
    const cut = [...document.querySelectorAll(".scroll, pre")].filter(box => box.scrollHeight > box.clientHeight + 1);
    return page.concat([...figures, ...bars, ...cut].map(box => `${box.tagName} ${box.className}`.toLowerCase()),
        shut.map(() => "details"));
}"""
"""What is cut off on A4 with 12 mm of margin, stands there although nobody can click on paper, or is shut."""


def on_paper(page: Any) -> list[str]:
    """What is wrong with a page on paper: on upright sheets, without what has sheets across, and on those."""
    size = page.viewport_size
    page.emulate_media(media="print")
    wrong = []
    for width, display in ((703, "none"), (1032, "block")):
        page.evaluate(f"for (const wide of document.querySelectorAll(`{ACROSS}`)) wide.style.display = '{display}'")
        page.set_viewport_size({"width": width, "height": 1000})
        wrong += page.evaluate(PAPER)
    page.emulate_media(media="screen")
    page.set_viewport_size(size)
    return wrong


ACROSS = '[id$="-all"], [id$="-proofs-section"]'
"""Sections whose tables are too wide for an upright sheet."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with chromium_for_tests() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(made.broken_run(stderr="<b>last words</b>\x1b[31m" + "y" * 3000), path)
    return path


@pytest.fixture
def shown(chromium: Any, file: Path) -> Iterator[Any]:
    found = opened(chromium, file)
    yield found.page
    found.close()
    assert found.complaints == []


def faults(found: Opened, file: Path) -> dict[str, Any]:
    """What is wrong with an open page at its present width, axe apart."""
    return {
        "wider than the window": found.page.evaluate(OVERFLOW),
        "outside of its picture": found.page.evaluate(OUTSIDE),
        "console": found.complaints,
        "loaded": found.loaded_beside(file),
    }


NONE = {"wider than the window": [], "outside of its picture": [], "console": [], "loaded": []}


@pytest.mark.parametrize("kind", SUITES)
def test_quiet_accessible_and_in_its_place(chromium: Any, tmp_path: Path, kind: str) -> None:
    """Every kind of suite at every width, in light and dark, with all that can be opened open."""
    file = tmp_path / "page.html"
    file.write_text(page_of(kind))
    found = opened(chromium, file, WIDTHS[0])
    assert found.page.locator("svg").count() > 0
    assert on_paper(found.page) == []
    found.page.evaluate(OPEN_ALL)
    for width in WIDTHS:
        found.page.set_viewport_size({"width": width, "height": 900})
        assert faults(found, file) == NONE, width
    found.page.evaluate(ALIKE_ONCE)
    for scheme in SCHEMES:
        found.page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            found.page.set_viewport_size({"width": width, "height": 900})
            assert violations(found.page) == [], (width, scheme)
    found.close()


OTHERS = [*POOR, *MORE]


@pytest.mark.parametrize("kind", OTHERS)
def test_poor_and_large_runs_still_give_a_sensible_page(chromium: Any, tmp_path: Path, kind: str) -> None:
    """Quiet, in its place at every width, on paper, and accessible in light and dark, each at one of the widths."""
    file = tmp_path / "page.html"
    file.write_text(page_of(kind))
    found = opened(chromium, file, WIDTHS[0])
    assert found.page.locator(".headline").first.is_visible()
    assert on_paper(found.page) == []
    found.page.evaluate(OPEN_ALL)
    for width in WIDTHS:
        found.page.set_viewport_size({"width": width, "height": 900})
        assert faults(found, file) == NONE, width
    found.page.evaluate(ALIKE_ONCE)
    for number, scheme in enumerate(SCHEMES, OTHERS.index(kind)):
        found.page.emulate_media(color_scheme=scheme)
        found.page.set_viewport_size({"width": WIDTHS[number % len(WIDTHS)], "height": 900})
        assert violations(found.page) == [], (scheme, WIDTHS[number % len(WIDTHS)])
    found.close()


def test_every_kind_of_fault_is_noticed(chromium: Any, file: Path) -> None:
    """Negative control of the two tests above: one planted fault of each kind."""
    bad = file.with_name("faults.html")
    planted = '<img src="http://127.0.0.1:9/x.png"><p class="brand">pale</p><div class="tile wide-thing">w</div></main>'
    style = ".brand { color: #bbb !important } .wide-thing { width: 3000px }</style>"
    text = file.read_text().replace("</main>", planted).replace("</style>", style)
    bad.write_text(text.replace("Content-Security-Policy", "X-Nothing"))
    found = opened(chromium, bad, 360)
    found.page.evaluate("document.querySelector('svg').insertAdjacentHTML('beforeend', '<text x=-90 y=20>out</text>')")
    seen = faults(found, bad)
    found.page.evaluate(ALIKE_ONCE)
    assert {"image-alt", "color-contrast"} <= {rule for rule, _nodes in violations(found.page)}
    assert seen["wider than the window"] == ["page", "tile wide-thing"]
    assert seen["outside of its picture"] == ["r0g0-ratios-title: out"]
    assert any("ERR_" in complaint for complaint in seen["console"])
    assert [url for url in seen["loaded"] if "127.0.0.1" in url]
    found.close()


def test_the_policy_stops_what_is_planted(chromium: Any, file: Path) -> None:
    bad = file.with_name("stopped.html")
    bad.write_text(file.read_text().replace("</main>", '<img src="http://127.0.0.1:9/x.png"><script>1</script></main>'))
    found = opened(chromium, bad)
    assert sum("Content Security Policy" in complaint for complaint in found.complaints) == 2, "picture and script"
    found.close()


def test_text_in_pictures_keeps_the_size_of_the_text_around_them(chromium: Any, file: Path) -> None:
    found = opened(chromium, file, 360)
    for width in (*WIDTHS, 390, 1024, 1920):
        found.page.set_viewport_size({"width": width, "height": 900})
        sizes = found.page.evaluate(
            "[...document.querySelectorAll('svg')].map(svg => svg.clientWidth / svg.viewBox.baseVal.width)"
        )
        assert len(sizes) > 10
        assert all(0.84 <= size <= 1.16 for size in sizes), width
    found.close()


def test_the_filter_hides_a_strategy_and_stays_in_the_address(shown: Any) -> None:
    rows = shown.locator("#r0g0-cells tbody tr")
    assert rows.filter(has_text="ddp").first.is_visible()
    shown.get_by_role("button", name="ddp").click()
    assert not rows.filter(has_text="ddp").first.is_visible()
    assert rows.filter(has_text="single fp32").first.is_visible()
    assert shown.locator("#r0g0-ratios svg .hid").count() > 0
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
    mark = shown.locator("#r0g0-memory circle").last
    mark.scroll_into_view_if_needed()
    mark.hover()
    tip = shown.locator(".tip")
    tip.wait_for(state="visible")
    assert "tokens/s" in tip.inner_text()
    assert mark.locator("title").count() == 0, "the browser's own tooltip does not come on top"
    shown.mouse.move(1, 1)
    tip.wait_for(state="hidden")


@pytest.mark.parametrize(
    ("kind", "row", "name", "kept"),
    [("optimizers", "optimizer", "sgd", "adamw"), ("regularization", "regularizers", "mixup", "dropout")],
)
def test_the_filter_works_on_recipes(chromium: Any, tmp_path: Path, kind: str, row: str, name: str, kept: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of(kind))
    found = opened(chromium, file)
    page = found.page
    assert page.locator(".chips").count() == 1, "one strategy is no choice"
    rows, marks = page.locator("#r0-learning-cells tbody tr"), page.locator("#r0-learning svg .hid")
    assert marks.count() == 0
    page.get_by_role("button", name=name, exact=True).click()
    assert page.url.endswith(f"#hide={row}.{name}")
    assert not rows.filter(has_text=name).first.is_visible()
    assert rows.filter(has_text=kept).first.is_visible()
    assert marks.count() > 5
    assert not page.locator("#r0-trials tbody tr").filter(has_text=name).first.is_visible()
    page.reload()
    page.wait_for_selector("button[aria-pressed=false]")
    assert marks.count() > 5
    page.get_by_role("button", name=name, exact=True).click()
    assert "hide" not in page.url
    assert marks.count() == 0
    assert found.complaints == []
    found.close()


def test_links_lead_to_their_sections(shown: Any) -> None:
    shown.get_by_role("link", name="Failures").click()
    assert shown.locator("#r0-failures h2").evaluate("el => el.getBoundingClientRect().top") < 300
    assert shown.evaluate("document.activeElement.id") == "r0-failures"


def test_last_words_are_text(shown: Any) -> None:
    shown.get_by_text("Last words").first.click()
    words = shown.locator("#r0-failures pre").first
    assert r"<b>last words</b>\x1b[31myyy" in words.inner_text()
    assert words.evaluate("el => el.scrollWidth <= el.clientWidth + 1"), "long lines wrap"


@pytest.mark.parametrize("kind", [*SUITES, "traced", "two runs"])
def test_without_javascript_everything_is_there(chromium: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(kind))
    found = opened(chromium, path, java_script_enabled=False)
    page = found.page
    assert page.locator("svg").first.is_visible()
    assert page.locator("#r0-trials tbody tr:visible").count() == page.locator("#r0-trials tbody tr").count() > 0
    if kind != "workloads":  # there is but one strategy and one recipe
        assert page.locator(".chip").first.is_visible()
    assert page.locator("button, input").count() == 0, "no switch that does nothing"
    assert page.locator("svg .m title").count() > 5, "the browser's own tooltips say the values"
    found.close()


def test_without_javascript_details_open(chromium: Any, file: Path) -> None:
    found = opened(chromium, file, java_script_enabled=False)
    found.page.get_by_text("Last words").first.click()
    assert found.page.locator("#r0-failures pre").first.is_visible()
    found.close()


def test_paper_that_cuts_something_off_is_noticed(chromium: Any, file: Path) -> None:
    """Negative control of `on_paper`; and a PDF is made of it."""
    found = opened(chromium, file, bypass_csp=True)
    assert on_paper(found.page) == []
    pages = found.page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert 6 <= pages <= 30
    for planted, said in (
        ("figure { width: 900px; max-width: none }", "page"),
        ("#r0-trials { min-width: 1100px }", "page"),
        (".bar { display: flex }", "bar"),
        ("th button { display: inline-block }", "button"),  # Chromium repeats no head of a table that holds a box
        ("details::details-content { content-visibility: hidden }", "details"),
        (".scroll { max-height: 60px; overflow: hidden }", "scroll"),
        ("figure { break-inside: auto }", "figure"),
        ("figure { min-height: 1100px }", "figure"),
    ):
        style = found.page.add_style_tag(content=f"@media print {{ {planted.replace(' }', ' !important }')} }}")
        assert said in " ".join(on_paper(found.page)), planted
        style.evaluate("style => style.remove()")
    found.close()


def test_hostile_text_is_text(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_page(made.with_text(made.synthetic_run(made.Shape(workloads=("gpt",))), HOSTILE), file)
    found = opened(chromium, file, 360)
    found.page.evaluate(OPEN_ALL)
    assert found.page.title() != "owned"
    assert found.page.locator("script").count() == 1
    assert found.page.locator("img").count() == 0
    assert "<script>document.title='owned'</script>" in found.page.locator("h1").inner_text()
    assert faults(found, file) == NONE
    found.close()


def test_a_run_without_trials_says_so(chromium: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of("nothing reached"))
    found = opened(chromium, file)
    assert "there is nothing to say" in found.page.locator(".headline").inner_text()
    assert "64 not reached" in found.page.locator(".facts").inner_text()
    found.close()


def test_a_long_table_is_whole_and_looks_the_same_after_sorting(chromium: Any, tmp_path: Path) -> None:
    """Rows out of sight are not laid out: none is lost, columns stay where they were, and paper has all of them."""
    file = tmp_path / "page.html"
    write_page(made.many_cells(260), file)
    found = opened(chromium, file)
    page = found.page
    rows = "[...document.querySelectorAll('#r0-trials tbody tr')].map(row => row.cells[2].textContent)"
    firsts = "[...document.querySelectorAll('#r0-trials tr:first-child > *')]"
    lefts = f"{firsts}.map(cell => Math.round(cell.getBoundingClientRect().left))"
    shown = "getComputedStyle(document.querySelector('#r0-trials tbody')).display"
    before, columns, laid = page.evaluate(rows), page.evaluate(lefts), page.evaluate(shown)
    page.evaluate("for (const at of [0, 1, 2]) document.querySelectorAll('#r0-trials th button')[at].click()")
    after = page.evaluate(rows)
    assert after != before
    assert sorted(after) == sorted(before)
    numbers = [int(text.split("=")[1].rstrip(")")) for text in after if "=" in text]
    assert numbers == sorted(numbers), "by the value of what stands in them"
    assert (laid, page.evaluate(shown)) == ("table-row-group", "block"), "as a table all rows would be laid out again"
    assert page.evaluate(lefts) == columns
    page.evaluate(ALIKE_ONCE)
    assert violations(page) == [], "a table for those who do not see it"
    page.emulate_media(media="print")
    assert page.evaluate(shown) == "table-row-group"
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function(f"{shown} === 'table-row-group'")
    assert found.complaints == []
    found.close()
