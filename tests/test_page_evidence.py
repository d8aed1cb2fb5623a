"""What a page refers to: traces that it links, cells its filter finds, files of the run that were damaged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness.analyse.study import study
from harness.report.chips import axes_and_look
from harness.report.kept_files import kept_files
from harness.report.page import build_page, write_page
from harness.run.stored import StoredRun, read_run
from tests import synthetic_run as made
from tests.suite_kinds import ONE, optimizers, regularizers, stored
from tests.test_page import Page
from tests.test_trace import with_trace


def small() -> StoredRun:
    return made.synthetic_run(made.Shape(workloads=ONE, rounds=2))


def traced(folder: Path) -> StoredRun:
    """A run with one trace, as it lies in a folder."""
    (folder / "traces").mkdir(parents=True)
    (folder / "traces" / "a b#1.json.gz").write_bytes(b"trace")
    run = with_trace(small(), artifacts={"trace of rank 0": "traces/a b#1.json.gz", "trace of rank 1": "traces/gone"})
    return replace(run, folder=folder)


def test_traces_are_linked_from_where_the_page_lies(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "deep" / "page.html"
    run = traced(tmp_path / "results" / "runs" / "r")
    write_page(run, page)
    table = re.search(r'<table id="r0g0-why".*?</table>', page.read_text(), re.S)
    assert table is not None
    links = re.findall(r'href="([^"]*)"', table[0])
    assert len(links) == 1
    assert (page.parent / unquote(links[0])).read_bytes() == b"trace"
    assert "trace of rank 1: traces/gone" in table[0], "what is not there is text"
    assert "<a " not in re.findall(r'<table id="r0g0-why".*?</table>', build_page(run), re.S)[0], "no file, no links"


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/hostname", "javascript:alert(1)", "a\0b", "", "traces", "x" * 9999]
)
def test_no_link_leaves_the_run_folder(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "run"
    run = traced(folder)
    (tmp_path / "secret").write_text("not of the run")
    record = run.records[-1].model_copy(update={"artifacts": {"trace": path}})
    assert [file.href for file in kept_files(run, record, tmp_path)] == [None]
    assert kept_files(run, run.records[-1], tmp_path)[0].href == "run/traces/a%20b%231.json.gz", "others are linked"


def test_every_cell_with_parts_is_in_the_table_of_why() -> None:
    html = build_page(made.many_cells(30))
    table = re.search(r'<table id="r0g0-why".*?</table>', html, re.S)
    drawn = re.search(r'<figure id="r0g0-changes">.*?</figure>', html, re.S)
    assert table is not None
    assert drawn is not None
    assert table[0].count("<tr ") == 30
    assert len(re.findall(r"bucket_cap_mb=\d+</text>", drawn[0])) < 29, "the picture has no room for all"
    assert '<th scope="col" class="n"' in table[0]
    row = re.search(r'<tr class="base [^"]*">(.*?)</tr>', table[0])
    assert row is not None
    assert row[1].split("<td>").count("–") == 6, "the baseline differs from nothing"


def test_chips_are_what_cells_differ_in() -> None:
    axes, look = axes_and_look([study(small())])
    assert [(axis.name, [chip.name for chip in axis.chips]) for axis in axes] == [
        ("strategy", ["single", "ddp", "fsdp", "dp"])
    ]
    axes, _look = axes_and_look([study(optimizers())])
    assert [(axis.name, [chip.token for chip in axis.chips]) for axis in axes] == [
        ("optimizer", ["optimizer.adamw", "optimizer.sgd", "optimizer.lion"])
    ]
    assert [chip.slot for chip in axes[0].chips] == [0, 2, 1], "the hue of its family"
    axes, look = axes_and_look([study(small()), study(regularizers())])
    assert [axis.name for axis in axes] == ["strategy", "regularizers"]
    classes = [chip.css for axis in axes for chip in axis.chips]
    assert len(set(classes)) == len(classes)
    assert axes[1].chips[0].name == "no regularizers"
    mixup = next(record.trial.cell for record in regularizers().records if "mixup" in record.trial.recipe.label)
    single, named = axes[0].chips[0].css, {chip.name: chip.css for chip in axes[1].chips}
    assert look.css([mixup]) == f"{single} {named['mixup']}"
    assert look.css(["unknown"]) == ""


def test_a_damaged_folder_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    folder = stored(small(), tmp_path / "run")
    trials, steps = folder / "trials.jsonl", folder / "steps.jsonl"
    whole = Page(build_page(read_run(folder)))
    assert "; left out" not in whole.text()
    lines = trials.read_text().splitlines()
    lines[2] = lines[2][:80]
    trials.write_text("\n".join(lines)[:-40])
    steps.write_text("no steps\n")
    (folder / "steps.parquet").write_bytes(b"PAR1 torn")
    page = Page(build_page(read_run(folder)))
    assert (page.open, page.wrong) == ([], [])
    said = page.text("li")
    for text in (
        "trials.jsonl:3: line is damaged; left out",
        f"trials.jsonl:{len(lines)}: last line is torn: its writer was cut off; left out",
        "steps.jsonl:1: line is damaged; left out",
        "steps.parquet: cannot be read",
        "2 not reached",
    ):
        assert text in said
    assert "All trials" in page.text("h2")
