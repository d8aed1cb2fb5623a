"""Widths of text in pictures, and where labels are cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import ImageFont

from harness.analyse.study import study
from harness.report.page import build_page
from harness.report.text_width import fitted, width
from tests import synthetic_run as made

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
TEXTS = (
    "fsdp bf16",
    "reshard_after_forward=false",
    "1.62× [1.55, 1.70]",
    "−15.9 ms",
    "Wmm…",
    "inverse_sqrt(timescale=50)",
)


@pytest.mark.skipif(not FONT.exists(), reason="DejaVu Sans is not installed")
@pytest.mark.parametrize("text", TEXTS)
def test_the_estimate_is_a_little_above_the_widest_font(text: str) -> None:
    real = ImageFont.truetype(str(FONT), 1000).getlength(text) / 1000 * 11
    assert real <= width(text) <= 1.15 * real


def test_what_fits_is_whole_and_what_does_not_is_cut_in_the_middle() -> None:
    text = "gradient_as_bucket_view=true"
    whole = width(text)
    assert fitted(text, whole) == text
    cut = fitted(text, whole - 1)
    assert "…" in cut
    assert width(cut) <= whole - 1
    assert fitted(text, 20) == "", "five characters say nothing"
    assert fitted("ddp", 100) == "ddp", "short texts are whole"
    assert fitted("", 100) == ""


def test_options_are_whole_where_the_row_has_room() -> None:
    truth = {"single": 1.0, "fsdp(reshard_after_forward=false)": 1.3}
    run = made.synthetic_run(made.Shape(workloads=("gpt",), truth=truth, precisions={"fp32": 1.0}))
    assert "reshard_after_forward=false</text>" in build_page(run)
    long = {
        "single": 1.0,
        "fsdp(reshard_after_forward=false, cpu_offload=true, meta_init=true, mixed_precision=bf16)": 1.3,
    }
    run = made.synthetic_run(made.Shape(workloads=("gpt",), truth=long, precisions={"fp32": 1.0}))
    assert re.search(r">[^<]*…[^<]*</text>", build_page(run)), "where it has none they are cut"


def test_lines_that_rows_are_held_against_do_not_cross_their_texts() -> None:
    html = build_page(made.synthetic_run(made.Shape(workloads=("gpt",))))
    forest = html[html.index('id="r0g0-ratios"') :].split("</figure>")[0]
    dashed = re.search(r'<path[^>]*stroke-dasharray="3,3"[^>]* d="([^"]*)"', forest) or re.search(
        r'<path[^>]* d="([^"]*)"[^>]*stroke-dasharray="3,3"', forest
    )
    assert dashed is not None
    rows = len(study(made.synthetic_run(made.Shape(workloads=("gpt",)))).groups[0].ranking)
    assert len(re.findall("[Mm]", dashed[1])) == rows, "a piece per row, not one line across all"
