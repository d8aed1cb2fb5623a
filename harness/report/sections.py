"""Sections of the page that only some runs have: what is learned, scaling, when compiling pays off, operators."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse import compiling, scaling
from harness.analyse.compiling import BreakEven, in_steps
from harness.analyse.quantity import ABSENT, between, digits, times
from harness.analyse.study import Study
from harness.report.columns import Column
from harness.report.figures import GROUPS_AT_MOST
from harness.report.learning_section import learning_sections
from harness.report.look import Look
from harness.report.operators_table import operators_section
from harness.report.scaling_chart import scaling_sketch, scaling_table
from harness.report.section import Section
from harness.report.tables import Table, TableRow


def sections(study: Study, look: Look, prefix: str) -> list[Section]:
    """The sections that a run has something for. prefix: makes their ids unique in the page."""
    found = (
        _scaling(study, look, f"{prefix}-scaling"),
        _compiling(study, look, f"{prefix}-compiling"),
        operators_section(study, look, f"{prefix}-operators"),
    )
    return [*learning_sections(study, look, prefix), *(section for section in found if section is not None)]


def _scaling(study: Study, look: Look, id_: str) -> Section | None:
    found = scaling.families(study)
    if not found:
        return None
    sketches = [scaling_sketch(family, f"{id_}{number}") for number, family in enumerate(found[:GROUPS_AT_MOST])]
    drawn = [sketch.drawn(look) for sketch in sketches]
    says = [f"{family.label}: {scaling.sentence(each)}" for family in found for each in family.scalings]
    return Section(id_, "How does it scale?", "Scaling", says, drawn, scaling_table(found, look, f"{id_}-cells"))


def _compiling(study: Study, look: Look, id_: str) -> Section | None:
    found = compiling.break_evens(study.trials)
    if not found:
        return None
    says, table = [compiling.in_words(each) for each in found], break_even_table(found, look, f"{id_}-cells")
    return Section(id_, "When does compiling pay off?", "Compiling", says, [], table)


def break_even_table(found: Sequence[BreakEven], look: Look, id_: str) -> Table:
    """Every compiled cell beside itself without compiling."""
    columns = (
        Column("cell", number=False),
        Column("group", number=False),
        Column("compiling", "s"),
        Column("step without", "ms"),
        Column("step with", "ms"),
        Column("step", "with ÷ without", "mean over rounds"),
        Column("interval", "95 %", "two-sided t interval over rounds", number=False),
        Column("pays off after", "steps", "seconds of compiling ÷ seconds saved per step"),
        Column("interval", "95 %", number=False),
    )
    rows = []
    for each in found:
        ratio = each.ratio
        ends = f"[{in_steps(each.low)}, {in_steps(each.high)}]" if each.low is not None else ABSENT
        texts = (
            each.label,
            each.group,
            digits(each.compile_s),
            ABSENT if each.without_s is None else digits(each.without_s * 1e3),
            digits(each.with_s * 1e3),
            times(ratio.value)[:-1] if ratio else "no cell without",
            (between(ratio.low, ratio.high) if ratio else "") or ABSENT,
            in_steps(each.steps) or ABSENT,
            ends,
        )
        rows.append(TableRow(texts, look.css([each.cell])))
    return Table(id_, "Compiled cells against the same cells without", columns, rows)
