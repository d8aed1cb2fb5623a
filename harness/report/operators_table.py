"""Which operators take a step's time: the most expensive of each traced cell, the baseline's figures beside them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.operators import Operator, Traced, baseline_of, traced_cells
from harness.analyse.quantity import ABSENT, count, digits, duration, listed
from harness.analyse.study import Study
from harness.report.columns import Column
from harness.report.look import Look
from harness.report.section import Section
from harness.report.tables import Table, TableRow

SHOWN = 5
"""Operators of a cell that are shown."""
CELLS_AT_MOST = 24


def operators_section(study: Study, look: Look, id_: str) -> Section | None:
    """The section of a run with traces; None without."""
    cells = [cell for cell in traced_cells(study.run) if cell.operators]
    if not cells:
        return None
    says = [_sentence(cell, baseline_of(cell, cells)) for cell in cells[:CELLS_AT_MOST]]
    caption = f"The {SHOWN} operators with most self time in {count(min(len(cells), CELLS_AT_MOST), 'traced cell')}"
    caption += f" of {len(cells):,}" if len(cells) > CELLS_AT_MOST else ""
    table = operators_table(cells, look, f"{id_}-cells", caption)
    return Section(id_, "Which operators take a step's time?", "Operators", says, [], table)


def _sentence(cell: Traced, baseline: Traced | None) -> str:
    most = cell.operators[0]
    share = f"{100 * most.self_s / cell.self_s:.0f} % of its operators' time" if cell.self_s else "most time"
    said = f"{cell.group} {cell.label}: {most.name} takes {share} ({duration(most.self_s)} of a step)"
    grown = _differences(cell, baseline) if baseline else []
    return f"{said}; against the baseline: {listed(grown)}" if grown else said


def _differences(cell: Traced, baseline: Traced) -> list[str]:
    """The two operators whose time grew most against the baseline."""
    known = [(each.self_s - took, each) for each in cell.operators if (took := baseline.took(each.name)) is not None]
    new = [(each.self_s, each) for each in cell.operators if baseline.took(each.name) is None]
    grown = sorted((each for each in [*known, *new] if each[0] > 0), key=lambda pair: -pair[0])[:2]
    return [f"{each.name} +{duration(seconds)}" for seconds, each in grown]


def operators_table(cells: Sequence[Traced], look: Look, id_: str, caption: str) -> Table:
    """A row per cell and operator, in stored order of the cells, most time first."""
    columns = (
        Column("cell", number=False),
        Column("group", number=False),
        Column("operator", number=False),
        Column("calls", "per step"),
        Column("self time", "ms/step", "rank 0, without operators inside it, summed over its threads"),
        Column("share", "%", "of the self time of all operators"),
        Column("baseline", "ms/step", "the same operator in the baseline, where it is among the 25 that are kept"),
        Column("on", number=False, means="clock that the time was read from"),
        Column("trace", number=False, means="folder of the files, in the run folder"),
    )
    rows = [
        _row(cell, each, baseline_of(cell, list(cells)), look)
        for cell in cells[:CELLS_AT_MOST]
        for each in cell.operators[:SHOWN]
    ]
    return Table(id_, caption, columns, rows)


def _row(cell: Traced, operator: Operator, baseline: Traced | None, look: Look) -> TableRow:
    took = baseline.took(operator.name) if baseline else None
    texts = (
        cell.label,
        cell.group,
        operator.name,
        digits(operator.calls),
        digits(operator.self_s * 1e3),
        digits(100 * operator.self_s / cell.self_s) if cell.self_s else ABSENT,
        digits(took * 1e3) if took is not None else ABSENT,
        "CPU" if cell.clock == "cpu" else "device",
        cell.folder,
    )
    return TableRow(texts, look.css([cell.strategy]), "base" if cell.is_baseline else "ok")
