"""The bytes of a page: every kind of suite, 30 charts and 10,000 points, and what makes pictures small."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.report.page import build_page
from harness.report.path_data import compact
from harness.report.svg import SVG, clean
from harness.report.thin import SEEN, thinned
from tests.suite_kinds import POOR, SUITES, page_of, thirty_charts

BOUND = 400_000


def points(path: str) -> list[tuple[float, float]]:
    """The corners that a path of straight lines goes through, by a reader of our own."""
    found, at, start, command = [], (0.0, 0.0), (0.0, 0.0), ""
    tokens = re.findall(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)", path)
    while tokens:
        if tokens[0].isalpha():
            command = tokens.pop(0)
            if command in "Zz":
                at = start
                found.append(at)
                continue
        base = at if command.islower() else (0.0, 0.0)
        if command in "HhVv":
            moved = float(tokens.pop(0))
            at = (base[0] + moved, at[1]) if command in "Hh" else (at[0], base[1] + moved)
        else:
            at = (base[0] + float(tokens.pop(0)), base[1] + float(tokens.pop(0)))
            if command in "Mm":
                start, command = at, "l" if command == "m" else "L"
        found.append(at)
    return found


@pytest.mark.parametrize("kind", [*SUITES, *POOR])
def test_every_kind_of_page_is_small(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    html = page_of(kind)
    size, charts = len(html.encode()), html.count("<svg")
    with capsys.disabled():
        print(f" {kind}: {size / 1e3:.0f} kB, {charts} charts", end="")
    assert size < BOUND * 0.55, "a small run leaves room for a large one"


def points_drawn(html: str) -> int:
    """Points that curves and marks of a page's pictures are drawn through; axes, grids and labels are not counted."""
    pictures = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.S)]
    return sum(_drawn(picture, mark=False) for picture in pictures)


def _drawn(element: ElementTree.Element, mark: bool) -> int:
    mark = mark or "m" in element.get("class", "").split()
    path = element.get("d", "")
    own = 1 if element.tag == "circle" or "A" in path else len(points(path)) - path.count("z")
    return own * mark + sum(_drawn(child, mark) for child in element)


def test_only_what_is_measured_counts_as_a_point() -> None:
    inside = '<path d="m0 0h9"/><g class="m f0"><path d="m1 1 2 2-3 .5"/><circle r="1"/><path d="m0 0h1v1h-1z"/></g>'
    assert points_drawn(f'<svg>{inside}</svg><svg><path class="m" d="m0 0 5 5"/></svg>') == 3 + 1 + 4 + 2


def test_thirty_charts_and_ten_thousand_points_fit() -> None:
    html = build_page(thirty_charts())
    assert html.count("<svg") >= 30
    assert points_drawn(html) >= 10_000
    assert len(html.encode()) <= BOUND


def test_curves_keep_their_spikes() -> None:
    rng = np.random.default_rng(0)
    x, y = np.linspace(0, 300, 10_000), np.cumsum(rng.normal(0, 0.3, 10_000))
    y[4321], y[8765] = 400.0, -400.0
    kept = thinned(x, y, 250)
    assert len(kept) <= 250
    assert {0, 4321, 8765, 9999} <= set(kept.tolist())
    even = np.unique(np.linspace(0, len(x) - 1, 250).astype(int))
    assert not {4321, 8765} & set(even.tolist()), "evenly thinned, as it was, both would be lost"


@pytest.mark.parametrize("many", [50, 240])
def test_thinned_curves_look_as_they_did(many: int) -> None:
    x = np.linspace(0, 300, many)
    y = 100 * np.exp(-x / 80) + 3 * np.sin(x / 9)
    kept = thinned(x, y, 250)
    assert len(kept) < many
    assert float(np.abs(np.interp(x, x[kept], y[kept]) - y).max()) <= 2 * SEEN
    rough = kept[::4]
    assert float(np.abs(np.interp(x, x[rough], y[rough]) - y).max()) > 2 * SEEN, "the check above would notice it"


def test_short_and_flat_curves_stay_whole() -> None:
    assert thinned(np.array([1.0]), np.array([2.0]), 10).tolist() == [0]
    assert thinned(np.zeros(5), np.zeros(5), 10).tolist() == [0, 4]
    assert thinned(np.arange(3.0), np.array([0.0, 9.0, 0.0]), 10).tolist() == [0, 1, 2]


def test_a_group_says_what_most_of_its_texts_say() -> None:
    anchors = ["middle", "start", "middle", "end", "middle"]
    texts = "".join(f'<text text-anchor="{anchor}" font-size="{9 if at else 12}px">a</text>'
                    for at, anchor in enumerate(anchors))  # fmt: skip
    svg = ElementTree.fromstring(
        clean(f'<svg xmlns="{SVG}" viewBox="0 0 9 9"><g opacity=".5">{texts}</g></svg>', "t", "s")
    )
    (group,) = svg
    assert group.get("text-anchor") == "middle"
    assert [text.get("text-anchor") for text in group] == [None, "start", None, "end", None]
    assert group.get("font-size") is None, "what nothing stands for where it is left out is not said for others"
    starts = clean(f'<svg xmlns="{SVG}" viewBox="0 0 9 9"><g><text>a</text><text>b</text></g></svg>', "t", "s")
    assert "start" not in starts


PATHS: Sequence[tuple[str, str]] = [
    ("M12,16.1L24,24.4L35.9,24.4", "m12 16.1 12 8.3 11.9 0"),
    ("M1.25,0h40v13h-40Z", "m1.2 0h40v13h-40z"),
    ("M-3,-3L3,3ZM10,10L11,11", "m-3-3 6 6zm13 13 1 1"),
    ("M0,0L0,0L5,5", "m0 0 5 5"),
    ("M0,0V-5H7.5", "m0 0v-5h7.5"),
]


@pytest.mark.parametrize(("long", "short"), PATHS)
def test_paths_are_written_short(long: str, short: str) -> None:
    assert compact(long) == short


def test_paths_go_where_they_went() -> None:
    rng = np.random.default_rng(1)
    corners = rng.normal(0, 200, (500, 2))
    long = "M" + "L".join(f"{x},{y}" for x, y in corners)
    short = compact(long, 30, -7)
    assert short is not None
    assert len(short) < 0.4 * len(long)
    drawn = np.array(points(short))
    assert float(np.abs(drawn - corners - [30, -7]).max()) <= 0.051, "errors do not add up along the path"
    assert compact("M0,0A5,5,0,1,1,5,5") is None, "curves stay as they are"
