"""What a gate leaves for others: Markdown for a job's summary or a comment, JUnit XML, JSON. Text in, text out."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from harness.analyse.gate import MEANS, Outcome
from harness.analyse.judgement import Judgement
from harness.analyse.quantity import ABSENT
from harness.report.comparison import ORDER, as_rows, effect_text, in_words, interval_text, percent
from harness.report.text import clip

MARKDOWN_BYTES = 60_000
"""GitHub refuses comments of more than 65,536 characters."""
SIGNS = {"regressed": "🔴", "improved": "🟢", "not comparable": "🟣", "undecided": "🟡", "same": "⚪"}
REASON_LENGTH = 160


def markdown(judgements: Sequence[Judgement], labels: Mapping[str, str], outcome: Outcome) -> str:
    """A heading with the outcome, the sentence, and a table with what matters first, cut where it grows too long."""
    ordered = sorted(judgements, key=lambda each: ORDER.index(each.verdict))
    head = [f"## {SIGNS[_sign(outcome)]} Dynamometer: {MEANS[outcome]}", "", _cell(in_words(judgements, labels)), ""]
    head += ["| | cell | metric | B against A | 95 % | rounds | why |", "| - | - | - | -: | -: | -: | - |"]
    text, rows = "\n".join(head) + "\n", [_row(each, labels) for each in ordered]
    for number, row in enumerate(rows):
        left = f"\n{len(rows) - number:,} more rows are left out.\n"
        if len((text + row + left).encode()) > MARKDOWN_BYTES:
            return text + left
        text += row
    return text


def _sign(outcome: Outcome) -> str:
    return {Outcome.PASSED: "improved", Outcome.REGRESSED: "regressed", Outcome.UNDECIDED: "undecided"}.get(
        outcome, "not comparable"
    )


def _row(each: Judgement, labels: Mapping[str, str]) -> str:
    cells = (
        f"{SIGNS[each.verdict]} {each.verdict}",
        labels.get(each.cell, each.cell),
        each.metric or ABSENT,
        effect_text(each),
        interval_text(each),
        str(each.rounds or ABSENT),
        each.reason,
    )
    return "| " + " | ".join(_cell(clip(text, REASON_LENGTH)) for text in cells) + " |\n"


def _cell(text: str) -> str:
    """Text that Markdown takes as text: nothing in it is a table, a link, a mention or HTML."""
    for character in "\\`*_{}[]<>|#@!~&":
        text = text.replace(character, f"&#{ord(character)};" if character in "<>&@|" else f"\\{character}")
    return " ".join(text.split())


def junit(judgements: Sequence[Judgement], labels: Mapping[str, str], strict: bool = False) -> str:
    """JUnit XML: a test suite with a case per cell and metric. Failures are regressions, and with `strict` what is
    undecided; what cannot be compared is an error.

    Source: https://github.com/testmoapp/junitxml
    """
    cases, failures, errors = [], 0, 0
    for each in judgements:
        name = f"{labels.get(each.cell, each.cell)} {each.metric}".strip()
        case = ET.Element("testcase", classname="dynamometer", name=_clean(name))
        effect = f" ({percent(each.effect)})" if each.effect is not None else ""
        if each.verdict == "regressed" or (strict and each.verdict == "undecided"):
            failures += 1
            ET.SubElement(case, "failure", message=_clean(f"{each.verdict}{effect}: {each.reason}"))
        elif each.verdict == "not comparable":
            errors += 1
            ET.SubElement(case, "error", message=_clean(each.reason))
        else:
            ET.SubElement(case, "system-out").text = _clean(f"{each.verdict}{effect}: {each.reason}")
        cases.append(case)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors), "skipped": "0"}
    root = ET.Element("testsuites", counts)
    ET.SubElement(root, "testsuite", {"name": "dynamometer", **counts}).extend(cases)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 does not allow."""
    return "".join(
        c if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
        for c in text
    )


def as_json(judgements: Sequence[Judgement], labels: Mapping[str, str], outcome: Outcome) -> str:
    """The outcome and every judgement."""
    content = {"outcome": outcome.name.lower(), "exit_code": int(outcome), "judgements": as_rows(judgements, labels)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
