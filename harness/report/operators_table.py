"""Which operators take a step's time: a row per traced cell, what grew against the baseline beside it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.operators import Operator, Traced, baseline_of, traced_cells
from harness.analyse.quantity import ABSENT, count, digits
from harness.analyse.study import Study
from harness.report.columns import Column
from harness.report.look import Look
from harness.report.section import Section
from harness.report.tables import Table, TableRow

SHOWN = 5
"""Operators of a cell in the table that is opened on demand."""
CELLS_AT_MOST = 24
HOW = (
    "Three steps of rank 0 under PyTorch's profiler, in a trial of its own: a profiler slows what it watches, so "
    "compare these figures with one another only. Self time is an operator's own, without operators inside it, summed "
    "over the rank's threads; that of a collective is waiting too."
)


def operators_section(study: Study, look: Look, id_: str) -> Section | None:
    """The section of a run with traces; None without."""
    every = [cell for cell in traced_cells(study.run) if cell.operators]
    if not every:
        return None
    cells = every[:CELLS_AT_MOST]
    of_all = f" of {len(every):,}" if len(every) > len(cells) else ""
    caption = f"Operators of {count(len(cells), 'traced cell')}{of_all}"
    pairs = [(cell, baseline_of(cell, every)) for cell in cells]
    more = (operators_table(pairs, look, f"{id_}-each"), files_table(cells, look, f"{id_}-files"))
    main = cells_table(pairs, look, f"{id_}-cells", caption)
    return Section(id_, "Which operators take a step's time?", "Operators", [HOW], [], main, more, explains=True)


def cells_table(pairs: Sequence[tuple[Traced, Traced | None]], look: Look, id_: str, caption: str) -> Table:
    """A row per cell: its operator with most time, and the one that takes most more than in the baseline."""
    columns = (
        Column("cell", number=False),
        Column("group", number=False),
        Column("all operators", "ms/step", "self time summed over operators and threads of rank 0"),
        Column("most self time", number=False),
        Column("takes", "ms/step"),
        Column("share", "%", "of the self time of all operators"),
        Column("grew most", "against the baseline", number=False),
        Column("by", "ms/step"),
    )
    rows = []
    for cell, baseline in pairs:
        most, grown = cell.operators[0], _grown(cell, baseline) if baseline else None
        texts = (
            *(cell.label, cell.group, digits(cell.self_s * 1e3)),
            *(most.name, digits(most.self_s * 1e3), digits(100 * _share(most, cell))),
            *((grown[1].name, f"+{digits(grown[0] * 1e3)}") if grown else (ABSENT, ABSENT)),
        )
        rows.append(_row(texts, cell, look))
    return Table(id_, caption, columns, rows)


def _share(operator: Operator, cell: Traced) -> float:
    return operator.self_s / cell.self_s if cell.self_s else 0.0


def _grown(cell: Traced, baseline: Traced) -> tuple[float, Operator] | None:
    """The operator that takes most more than in the baseline; one that the baseline did not keep took about none."""
    grown = [(each.self_s - (baseline.took(each.name) or 0.0), each) for each in cell.operators]
    most = max(grown, key=lambda pair: pair[0], default=None)
    return most if most and most[0] > 0 else None


def operators_table(pairs: Sequence[tuple[Traced, Traced | None]], look: Look, id_: str) -> Table:
    """A row per cell and operator, most time first."""
    columns = (
        Column("cell", number=False),
        Column("group", number=False),
        Column("operator", number=False),
        Column("calls", "per step"),
        Column("self time", "ms/step"),
        Column("share", "%", "of the self time of all operators"),
        Column("baseline", "ms/step", "the same operator in the baseline, where it is among the 25 that are kept"),
        Column("on", number=False, means="clock that the time was read from"),
    )
    rows = []
    for cell, baseline in pairs:
        for each in cell.operators[:SHOWN]:
            took = baseline.took(each.name) if baseline else None
            texts = (
                *(cell.label, cell.group, each.name, f"{each.calls:.4g}", digits(each.self_s * 1e3)),
                *(digits(100 * _share(each, cell)), ABSENT if took is None else digits(took * 1e3)),
                "CPU" if cell.clock == "cpu" else "device",
            )
            rows.append(_row(texts, cell, look))
    return Table(id_, f"The {SHOWN} operators with most self time, cell by cell", columns, rows)


def files_table(cells: Sequence[Traced], look: Look, id_: str) -> Table:
    """Where the traces are: for TensorBoard (`harness profile RUN`), Perfetto and chrome://tracing."""
    columns = (
        Column("cell", number=False),
        Column("group", number=False),
        Column("ranks"),
        Column("folder", "in the run folder", number=False),
    )
    rows = [_row((cell.label, cell.group, str(len(cell.record.artifacts)), cell.folder), cell, look) for cell in cells]
    return Table(id_, "Files of the traces: open them by harness profile RUN, or in Perfetto", columns, rows)


def _row(texts: tuple[str, ...], cell: Traced, look: Look) -> TableRow:
    return TableRow(texts, look.css([cell.cell]), "base" if cell.is_baseline else "ok")
