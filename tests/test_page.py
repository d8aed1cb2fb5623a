"""The page as a file: whole, self-contained, safe whatever the records hold, and of bearable size."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.analyse.study import study
from harness.report.curves import loss_curves
from harness.report.document import csp_hash
from harness.report.look import Look
from harness.report.page import build_page, write_page
from harness.report.picture import Padding, Picture, pixels, raw
from harness.report.svg import clean
from harness.report.text import clip, tail, visible
from harness.run.stored import StoredRun
from harness.schema.errors import StoreError
from harness.schema.metrics import METRICS
from harness.schema.record import Phase, Status
from tests import synthetic_run as made
from tests.suite_kinds import page_of

VOID = {"meta", "link", "input", "br", "hr", "img"}
LOADS = {"src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href"}
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b[0m\x07\x00",
    "abc\u202etxt.exe\u2066\u200b",
    "x" * 10_000,
    "{{ 7 * 7 }} {% raw %} </style></script><!--",
    'quote" onmouseover="alert(1)',
)


class Page(HTMLParser):
    """A page taken apart. open: elements not closed; attributes: of every element; texts: by the innermost element."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.feed(html)

    def _end_cell(self) -> None:
        """The end of a table's cell may be left out: the next one and the end of the row say it."""
        if self.open and self.open[-1] == "td":
            self.open.pop()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "td":
            self._end_cell()
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self._end_cell()
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data))

    def text(self, *within: str) -> str:
        """All text, or that directly inside elements of these names."""
        shown = (data for tag, data in self.texts if tag not in ("style", "script"))
        return " ".join(data for tag, data in self.texts if tag in within) if within else " ".join(shown)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def broken() -> str:
    return build_page(made.broken_run())


@pytest.fixture(scope="module")
def hostile() -> str:
    return build_page(made.with_text(made.synthetic_run(made.Shape(workloads=("gpt",))), HOSTILE))


CASES: dict[str, Callable[[], StoredRun]] = {
    "failures": made.broken_run,
    "only failures": made.only_failures,
    "one cell": made.one_cell,
    "one round": made.one_round,
    "no series": made.without_series,
    "holes": made.with_holes,
    "many groups": lambda: made.many_groups(6),
    "scaling": made.scaling_run,
    "scaling, one round, no baseline": lambda: made.scaling_run(
        1,
        lambda record: (
            made.failed(record, Status.CRASHED, Phase.WRAP, "no ring")
            if record.trial.strategy.name == "single"
            else record
        ),
    ),
    "compiled": made.compiled_run,
}


@pytest.mark.parametrize("case", CASES)
def test_every_run_gives_a_whole_page(case: str) -> None:
    page = Page(build_page(CASES[case]()))
    assert (page.open, page.wrong) == ([], [])
    for section in ("Failures", "All trials", "Machine and reproduction", "Glossary"):
        assert section in page.text("h2")
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id stands once, in SVG too"
    assert "nan" not in re.findall(r"[a-z]+", page.text().lower()), "what is absent is a dash"


def test_an_empty_run_says_so() -> None:
    run = made.one_cell()
    run.records.clear()
    assert "there is nothing to say" in build_page(run)


def test_the_answer_stands_first(broken: str) -> None:
    page = Page(broken)
    texts = [" ".join(data.split()) for tag, data in page.texts if tag not in ("style", "script", "title")]
    order = [texts.index(text) for text in ("ddp fp32", "Fastest", "Throughput against single fp32", "All trials")]
    assert order == sorted(order)
    assert ["is ", " single fp32 [1.60, 1.67]"][1].strip() in broken.replace("\u00a0", " ")


def test_it_loads_nothing_and_nothing_is_inline_that_the_policy_does_not_name(broken: str) -> None:
    page = Page(broken)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; ")
    styles, scripts = (
        re.findall(r"<style>(.*?)</style>", broken, re.S),
        re.findall(r"<script>(.*?)</script>", broken, re.S),
    )
    assert (len(styles), len(scripts), len(page.all("style")), len(page.all("script"))) == (1, 1, 1, 1)
    assert f"style-src '{csp_hash(styles[0])}'" in policy
    assert f"script-src '{csp_hash(scripts[0])}'" in policy
    assert "unsafe" not in policy
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, (tag, attributes)
        assert not LOADS & attributes.keys(), (tag, attributes)
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]
    assert not page.all("iframe") + page.all("object") + page.all("img")
    assert all(str(use["href"]).startswith("#") for use in page.all("use")), "what is drawn again is in the page"


def test_the_hash_check_notices_a_changed_byte(broken: str) -> None:
    changed = broken.replace("box-sizing: border-box", "box-sizing: content-box")
    style = re.findall(r"<style>(.*?)</style>", changed, re.S)[0]
    assert f"style-src '{csp_hash(style)}'" not in changed


def test_hostile_text_is_text(hostile: str) -> None:
    page = Page(hostile)
    assert (page.open, page.wrong) == ([], [])
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert "<script>document.title='owned'</script>" in page.text(), "it is shown as it was written"
    assert "{{ 7 * 7 }}" in page.text()
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}, (tag, attributes)


def test_hidden_characters_are_shown(hostile: str) -> None:
    assert not set(hostile) & {"\x1b", "\x00", "\x07", "\u202e", "\u2066", "\u200b"}
    page = Page(hostile)
    for shown in (r"\x1b[31mred", r"\x07", r"\x00", r"\u202e", r"\u2066"):
        assert shown in page.text()
    hostile.encode("utf-8")


def test_without_that_hidden_characters_would_be_there() -> None:
    assert visible("a\x1b\u202eb\n\tc\u00a0×") == "a\\x1b\\u202eb\n\tc\u00a0×"
    assert visible("plain") == "plain"
    assert visible("lone \udc80") == r"lone \udc80"
    assert clip("a  b\n\x1bc", 20) == r"a b \x1bc"
    assert clip("x" * 50, 21) == "x" * 13 + "…" + "x" * 7
    assert tail("y" * 50, 10).startswith("… 40 characters left out …")


def test_long_lines_do_not_make_the_page_long(hostile: str) -> None:
    assert "x" * 10_000 not in hostile
    assert "characters left out" in hostile


def test_trials_that_failed_parity_show_no_speed(broken: str) -> None:
    run = made.broken_run()
    failed = [record for record in run.records if record.status == "PARITY_FAILED"]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", broken, re.S)
    for record in failed:
        row = next(row for row in rows if record.trial.id in row)
        assert row.split("<td>")[6:] == ["–"] * 11, "figures of another computation are not shown"
    ok = next(record for record in run.records if record.status == "OK")
    row = next(row for row in rows if ok.trial.id in row)
    assert "–" not in row.split("<td>")[6:9], "the check above would not notice an empty table"
    cells = next(row for row in rows if "fsdp bf16<td>parity failed" in row)
    assert cells.split("<td>")[3:-1] == ["–"] * 8


def test_failures_say_what_happened_and_how_to_repeat_it(broken: str) -> None:
    text = Page(broken).text()
    for said in (
        "OOM",
        "out of memory in step 12",
        "rank 1, signal SIGKILL",
        "can't allocate memory",
        "no end after 300 s",
    ):
        assert said in text
    run = made.broken_run()
    first = next(record for record in run.records if record.status == "OOM")
    assert f"harness rerun {first.trial.id}" in text


def test_pictures_have_names_summaries_and_values(broken: str) -> None:
    page = Page(broken)
    ids = {attributes.get("id") for _tag, attributes in page.elements}
    svgs = page.all("svg")
    assert len(svgs) == 2 * 8, "two groups, nine figures, each drawn once, but for held-out values that are all alike"
    for svg in svgs:
        assert svg["role"] == "img"
        assert {svg["aria-labelledby"], svg["aria-describedby"]} <= ids
    assert "ddp fp32: 1.63× [1.60, 1.67], 3\u00a0rounds, faster" in page.text("title")


def test_the_waterfall_says_in_words_where_the_time_went(broken: str) -> None:
    text = Page(broken).text("p").replace("\u00a0", " ")
    assert re.search(r"ddp fp32 25\.\d ms \(−16\.\d ms\): waiting for data −[^;]*, forward −[^;]*, backward −", text)
    assert "ddp fp32 25." in re.sub("\u00a0", " ", Page(broken).text("p")), "the baseline is what it is compared with"


def test_scaling_has_a_section_of_its_own() -> None:
    html = build_page(made.scaling_run())
    page = Page(html)
    assert "How does it scale?" in page.text("h2")
    assert (
        "Strong scaling at 64\u00a0samples a step, 4\u00a0devices against single 1\u00a0device: ddp 3.00×"
        in page.text("li")
    )
    titles = page.text("title").replace("\u00a0", " ")
    assert "ddp weak, 4 devices: 3.40× (85 % [85, 85] of ideal)" in titles
    for name in ("ddp strong 75\u00a0%", "ddp weak 85\u00a0%", "fsdp strong 50\u00a0%", "fsdp weak 60\u00a0%"):
        assert html.count(f">{name}</text>") == 1, "each line is named where it ends"
    weak = html[html.index('id="r0g1"') :]
    assert "Training loss by step" not in weak, "other batches learn other things per step"
    assert "Training loss by step" in html
    assert "16 samples per device, global batch 16 to 64" in page.text("p")
    assert "How does it scale?" not in build_page(made.one_cell())


def test_scaling_without_a_figure_says_so() -> None:
    html = build_page(CASES["scaling, one round, no baseline"]())
    assert "No efficiency can be drawn" in html
    assert "no efficiency can be given, the baseline has no figure" in html
    assert "<td>no baseline in its rounds<" in html


def test_compiling_has_a_section_where_something_was_compiled() -> None:
    page = Page(build_page(made.compiled_run()))
    assert "When does compiling pay off?" in page.text("h2")
    assert re.search(
        r"single compile: 12.0 s of compiling are saved after 1,\d\d\d steps", page.text("li").replace("\u00a0", " ")
    )
    assert "pay off" not in build_page(made.one_cell())


def test_all_metrics_are_in_the_glossary(broken: str) -> None:
    names = Page(broken).text("code")
    for metric in METRICS.values():
        assert metric.name in names


def test_size(broken: str) -> None:
    assert len(broken.encode()) < 250_000
    script = re.findall(r"<script>(.*?)</script>", broken, re.S)[0]
    assert len(script) <= 8_000


def test_a_thousand_cells_still_give_a_page() -> None:
    html = page_of("1,000 cells")
    page = Page(html)
    assert (page.open, page.wrong) == ([], [])
    assert html.count("bucket_cap_mb=999)<td>") >= 2, "the tables hold every cell"
    assert "24 of 1,000 cells; the table holds all" in html
    assert len(html.encode()) < 2_500_000


def test_several_runs_stand_under_one_another() -> None:
    page = Page(build_page([made.one_cell(), made.one_round()]))
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.text("h2").count("All trials") == 2
    assert "2 runs" in page.text("h1")


def test_the_same_records_give_the_same_page() -> None:
    assert build_page(made.one_cell()) == build_page(made.one_cell())


def test_writing_replaces_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "page.html"
    write_page(made.one_cell(), path)
    first = path.read_text()
    write_page(made.one_cell(), path)
    assert path.read_text() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"], "no temporary file is left"
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        write_page(made.one_cell(), blocked / "page.html")


def test_svg_is_clean_and_keeps_what_is_drawn() -> None:
    picture = Picture(Look({"ddp": 1}, {"0f": ("f3", "f5")}))
    values = [{"x": 10, "y": 20, "fill": "var(--s1)", "about": picture.about(["0f"], "a <b> & c")}]
    channels = {"x": pixels("x"), "y": pixels("y"), "fill": raw("fill")}
    layer = picture.layer("point", values, {"size": 40, "filled": True}, **channels)
    svg = picture.draw([layer], 50, 40, Padding(1, 1, 1, 1))
    assert re.search(r'<circle [^>]*class="m f3 f5 s1"', svg), "the hue is a class, as the filter's are"
    assert "<title>a &lt;b&gt; &amp; c</title>" in svg
    assert not re.search(r"style=|font-family|aria-roledescription|\bid=", svg)
    inside = '<g><g><path d="M0.123456,0L9.96,-0.44h-3Z" stroke="red"/></g><g class="mark"/></g>'
    cleaned = clean(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{inside}</svg>', "t", "s")
    assert cleaned.endswith('aria-labelledby="t" aria-describedby="s"><path d="m.1 0 9.9-.4h-3z" stroke="red"/></svg>')


def test_curves_end_where_the_first_round_ends_and_never_run_backwards() -> None:
    """Rounds warm up for different numbers of steps; a mean over those that are left would jump."""
    run = made.synthetic_run(made.Shape(workloads=("gpt",)))
    rounds = {record.trial.id: record.trial.repeat for record in run.records}
    for trial_id, series in run.series.items():
        kept = 41 - 7 * rounds[trial_id]
        slow = 20 if rounds[trial_id] == 0 else 1
        columns = {name: values[:kept] for name, values in series.columns.items()}
        columns["step_s"] = [slow * (value or 0) for value in columns["step_s"]]
        run.series[trial_id] = series.model_copy(update={"columns": columns})
    group = study(run).groups[0]
    curves = loss_curves(run, group, "train_s")
    assert len(curves) == 10
    assert all(len(curve.x) == 27 for curve in curves)
    assert all((curve.x[1:] > curve.x[:-1]).all() for curve in curves)
    assert ">all 10 cells" in build_page(run)


def test_the_question_of_recipes_is_another() -> None:
    run = made.one_round()
    assert "A strategy must not change what is learned" in build_page(run)
    baseline = {"strategy": "single", "precision": "fp32", "recipe": {"lr": 3e-3}}
    recipes = replace(run, info=made.run_info(24, baseline=baseline, compared_keys=list(baseline)))
    assert "Recipes change what is learned per step" in build_page(recipes)


def test_what_could_not_be_measured_stands_there_with_its_reason() -> None:
    run = made.synthetic_run(made.Shape(workloads=("gpt",)))
    for record in run.records:
        for rank in record.per_rank:
            rank.facts["absent"] = {"energy": "RAPL: <permission> denied"}
    page = build_page(run)
    assert "energy: not measured" in page
    assert "RAPL: &lt;permission&gt; denied" in page
    assert "energy: not measured" not in build_page(made.synthetic_run(made.Shape(workloads=("gpt",))))
