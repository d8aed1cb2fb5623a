"""The gate: one exit code, and files for others in which no text is more than text."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.analyse.compare import Judgement, Verdict
from harness.analyse.gate import MEANS, NEW, Outcome, gate
from harness.report.gate_files import MARKDOWN_BYTES, as_json, junit, markdown

SAME = Judgement("c", "step_cpu_s", "same", "a difference of 1% or more is ruled out", 1.001, 0.997, 1.004, 20, 0.6)


def judged(*verdicts: Verdict) -> list[Judgement]:
    return [replace(SAME, cell=f"c{number}", verdict=verdict) for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "strict", "code"),
    [
        (["same", "improved"], True, 0),
        (["same", "undecided"], False, 0),
        (["same", "undecided"], True, 4),
        (["same", "not comparable", "undecided"], True, 3),
        (["regressed", "not comparable", "same"], False, 1),
        ([], False, 2),
    ],
)
def test_exit_codes(verdicts: list[Verdict], strict: bool, code: int) -> None:
    assert gate(judged(*verdicts), strict) == code
    assert set(MEANS) == set(Outcome)


def test_a_new_cell_stops_nobody_and_is_no_measurement_of_the_old() -> None:
    new = Judgement("n", "", "not comparable", NEW)
    assert gate([*judged("same"), new]) == 0
    assert gate([new]) == 2
    assert gate([*judged("same"), replace(new, reason="only A has it")]) == 3


EVIL = "a|b <script>alert(1)</script> [x](http://e) @team `c` \x00\x1b[31m " + "long " * 3000


def test_markdown_fits_a_comment_and_its_texts_are_texts() -> None:
    many = [replace(SAME, cell=f"cell {number}", reason=EVIL) for number in range(2000)]
    text = markdown(
        [*many, replace(SAME, cell="worse", verdict="regressed", effect=1.05)], {"worse": EVIL}, Outcome.REGRESSED
    )
    assert len(text.encode()) <= MARKDOWN_BYTES
    assert "more rows are left out" in text
    assert text.startswith("## 🔴 Dynamometer: something is worse")
    for forbidden in ("<script", "[x](http", "@team", "\x00", "\x1b"):
        assert forbidden not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {8}, "no text adds a column"
    assert "+5.0" in rows[2], "what differs comes first"


def test_junit_counts_and_is_xml() -> None:
    found = judged("regressed", "undecided", "not comparable", "same")
    root = ET.fromstring(junit([replace(found[0], reason=EVIL), *found[1:]], {"c1": "a <cell> & more"}))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    assert root.findall(".//testcase")[1].get("name") == "a <cell> & more step_cpu_s"
    assert ET.fromstring(junit(found, {}, strict=True)).get("failures") == "2"


def test_json_is_json() -> None:
    content = json.loads(as_json(judged("regressed"), {"c0": "gpt"}, Outcome.REGRESSED))
    assert (content["outcome"], content["exit_code"]) == ("regressed", 1)
    assert content["judgements"][0]["label"] == "gpt"
