"""Sections about learning in the page and in the terminal: what they show, name and mark, and how large they get."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import pytest
from rich.console import Console

from harness.analyse.study import study
from harness.report.console import run_summary
from harness.report.family_curves import inside
from harness.report.family_look import FAMILIES_AT_MOST, drawn
from harness.report.learning_plane import along, cut
from harness.report.page import build_page
from harness.run.stored import StoredRun
from harness.schema.record import Status
from tests import synthetic_recipes as made
from tests import synthetic_run
from tests.synthetic_recipes import Recipes, recipes_run, seeds
from tests.test_page import Page

GAPS: Mapping[str, float] = {"adamw": 0.05, "sgd(momentum=0.9)": 0.01, "lion": 0.08}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.fixture(scope="module")
def html() -> str:
    return plain(build_page(recipes_run(Recipes(gaps=GAPS))))


def figure(html: str, name: str) -> str:
    found = re.search(rf'<figure id="r0-learning-{name}">.*?</figure>', html, re.S)
    assert found is not None, name
    return found[0]


def test_the_section_has_its_figures_and_the_page_is_whole(html: str) -> None:
    page = Page(html)
    assert (page.open, page.wrong) == ([], [])
    assert "Which recipe learns best?" in page.text("h2")
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in ("sensitivity", "steps", "time", "target", "gap"):
        drawing = figure(html, name)
        assert drawing.count("<svg") == 1, "each is drawn once"
        assert f'id="r0-learning-{name}-summary"' in drawing
    assert "rates-by-step" not in html, "the schedule is the same for all"
    assert "Throughput against" not in html, "the suite is not about speed"
    assert "nan" not in re.findall(r"[a-z]+", page.text().lower())
    assert len(html.encode()) < 400_000


def test_the_ladder_shows_best_rates_bands_and_what_diverged(html: str) -> None:
    drawing = figure(html, "sensitivity")
    titles = re.findall(r"<title>(.*?)</title>", drawing)
    assert "adamw at lr 0.003: 1.52 [1.43, 1.61], 3 of 3 seeds, the best rate" in titles
    assert "sgd(momentum=0.9) at lr 0.01: 1.98 [1.93, 2.04], 3 of 3 seeds, the best rate, the largest tried" in titles
    lost = [text for text in titles if "diverged" in text]
    assert any(
        text.startswith("lion at lr 0.01: 2.60, 1 of 3, 2 diverged seeds, first at step 17, last") for text in lost
    )
    assert any(text.startswith("target 1.75") for text in titles)
    assert any(text.startswith("no learning: unigram 3.24") for text in titles)
    assert len(re.findall(r'<path d="[^"]*z" class="m f\d s\d"/>', drawing)) >= 3, "a band for each family"
    for name in ("adamw", "lion", "sgd"):
        assert f">{name}</text>" in drawing, "named where it ends, no option is needed"
    whole = recipes_run(Recipes(ends={name: dict(list(rungs.items())[:2]) for name, rungs in made.ENDS.items()}))
    assert "diverged" not in figure(plain(build_page(whole)), "sensitivity").split("<svg")[1]


def test_what_is_not_reached_is_an_open_mark(html: str) -> None:
    drawing = figure(html, "target")
    assert "sgd(momentum=0.9) at lr 0.01: 3 seeds did not reach it within 200 steps" in drawing
    assert "adamw at lr 0.003: 120 steps (120 to 140) × 19.0 ms = 2.28 s (3 of 3 seeds)" in drawing
    assert "&gt; 3.80 s (0/3)" in drawing
    all_reached = recipes_run(Recipes(target=2.9))
    assert "did not reach it" not in figure(plain(build_page(all_reached)), "target").split("<svg")[1]


def test_the_gap_is_drawn_where_it_was_taken(html: str) -> None:
    drawing = figure(html, "gap")
    assert "adamw at lr 0.003: loss 1.47 on training samples" in drawing
    assert "0.051 [0.049, 0.053]" in drawing
    assert 'id="r0-learning-gap"' not in build_page(recipes_run())


def test_tables_hold_every_recipe_and_every_rate(html: str) -> None:
    families = re.search(r'<table id="r0-learning-cells".*?</table>', html, re.S)
    rates = re.search(r'<table id="r0-learning-rates".*?</table>', html, re.S)
    assert families is not None
    assert rates is not None
    assert len(re.findall("<tr ", families[0])) == 3
    assert len(re.findall("<tr ", rates[0])) == 9
    assert "<td>lion<td>worse<td>0.001 (edge)<td>1.665<td>" in families[0]
    assert "+9.3 % [+8.3, +10]" in families[0]
    assert "seed 0: step 17, last finite loss 3.882; seed 2: step 17" in rates[0]
    assert "&gt; 200 (0/3)" in rates[0]


def test_schedules_are_drawn_by_step() -> None:
    ends = {"cosine": {3e-3: seeds(1.5)}, "linear": {3e-3: seeds(1.6)}}
    drawing = figure(
        plain(build_page(recipes_run(Recipes(ends=ends, key="schedule", baseline={"lr": 3e-3})))), "rates-by-step"
    )
    assert "cosine: 10 % of the peak at first" in drawing
    assert ">linear</text>" in drawing


def test_more_families_than_can_be_told_apart_are_said_and_the_baseline_stays() -> None:
    ends = {f"adam(beta1=0.{10 + number})": {3e-3: seeds(1.5 + number / 100)} for number in range(1, 12)}
    run = recipes_run(Recipes(ends=ends, baseline={"optimizer": {"name": "adam", "beta1": 0.21}}))
    found = study(run).groups[0].learning
    assert found is not None
    shown = drawn(found)
    assert len(shown) == FAMILIES_AT_MOST
    assert shown[-1].family.is_baseline
    assert len({(each.colour, tuple(each.dash)) for each in shown}) == FAMILIES_AT_MOST
    assert "8 of 11 recipes; the table holds all" in plain(build_page(run))


def test_large_studies_give_a_page_of_bearable_size() -> None:
    names = ("adamw", "sgd", "lion", "lamb", "muon", "adam", "rmsprop", "adagrad", "nadam", "radam")
    ladder = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    ends = {
        name: {lr: seeds(1.5 + at / 50 + number / 20) for number, lr in enumerate(ladder)}
        for at, name in enumerate(names)
    }
    html = build_page(recipes_run(Recipes(ends=ends, gaps=dict.fromkeys(names, 0.02))))
    assert len(html.encode()) < 400_000


def test_workloads_have_one_table_and_a_curve_each() -> None:
    html = plain(build_page(made.workloads_run()))
    assert "Did every workload learn?" in html
    assert "1 of 2 workloads reached the target in every seed; not resnet/nano." in html
    table = re.search(r'<table id="r0-workloads-all".*?</table>', html, re.S)
    assert table is not None
    assert "<td>gpt/nano<td>3 of 3 seeds<td>loss<td>1.6<td>" in table[0]
    assert "<td>unigram 3.24, bigram 2.32<" in table[0]
    for number in (0, 1):
        drawing = re.search(rf'<figure id="r0-workloads{number}">.*?</figure>', html, re.S)
        assert drawing is not None
        assert "target" in drawing[0].split("<svg")[1]
    assert "Which recipe learns best?" not in Page(html).text("h2")


@pytest.mark.parametrize(
    "ends",
    [
        {"adamw": {3e-3: [made.DIVERGED] * 3}},
        {"adamw": {3e-3: [made.DIVERGED] * 3, 1e-3: [1.5]}, "lion": {3e-3: [1.5]}},
        {"adamw": {3e-3: [1.5]}, "lion": {3e-3: [1.5]}},
        {"adamw": {3e-3: seeds(1e9), 1e-3: seeds(1.5)}, "lion": {3e-3: seeds(1.6)}},
    ],
)
def test_every_study_gives_a_whole_page(ends: made.Ends) -> None:
    run = recipes_run(Recipes(ends=ends))
    page = Page(build_page(run))
    assert (page.open, page.wrong) == ([], [])
    run.series.clear()
    assert Page(build_page(run)).open == []
    unsupported = [synthetic_run.failed(record, Status.UNSUPPORTED, record.phase, "not here") for record in run.records]
    assert Page(build_page(StoredRun(run.folder, run.info, unsupported))).open == []


def test_values_beyond_every_trivial_predictor_do_not_press_the_others_together() -> None:
    found = study(recipes_run()).groups[0].learning
    assert found is not None
    assert cut(found, [1.5, 1.6, 2.0, 1e9]) == (1.5, 3.24)
    assert cut(found, [1.5, 1.6, 2.0]) == (1.5, 2.0)
    exploded = Recipes(ends={"adamw": {3e-3: seeds(1.5), 1e-2: seeds(900.0)}, "lion": {3e-3: seeds(1.6)}})
    drawing = figure(plain(build_page(recipes_run(exploded))), "sensitivity")
    assert "adamw at lr 0.01: 900" in drawing, "a mark at the edge says it"


def test_a_curve_enters_its_axis_where_it_crosses_it() -> None:
    import numpy as np

    points = inside(np.array([0.0, 10.0, 20.0]), np.array([5.0, 3.0, 1.0]), (0.0, 4.0))
    assert points == [(5.0, 4.0), (10.0, 3.0), (20.0, 1.0)]
    assert inside(np.array([0.0, 1.0]), np.array([9.0, 8.0]), (0.0, 4.0)) == []
    assert along([(0.0, 0.0), (10.0, 0.0)]) == [(0.0, 0.0), (5.0, 0.0), (10.0, 0.0)]


def shown(run: StoredRun) -> str:
    console = Console(file=io.StringIO(), width=150)
    console.print(run_summary(run))
    return plain(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_terminal_ranks_recipes_by_what_they_learn() -> None:
    text = shown(recipes_run())
    table = text.split("verdict")[1]
    order = [table.index(name) for name in ("adamw at lr 0.003 ", "lion at lr 0.001 (edge)", "sgd(momentum=0.9) at")]
    assert order == sorted(order)
    assert "× baseline" not in text
    assert "> 200 steps" in text
    assert "round 1, seed 0 and 2: loss is not finite at step 17" in text
    assert "reached its target" in shown(made.workloads_run())
