"""Table of the page: the largest micro-batch that fits, of each cell that asked for it, with every try."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.quantity import ABSENT, digits
from harness.analyse.study import Study
from harness.report.columns import MIB, Column
from harness.report.look import Look
from harness.report.tables import Table, TableRow
from harness.schema.memory_size import memory_text
from harness.schema.metrics import METRICS
from harness.schema.record import Record, Status, Try


def fit_table(study: Study, look: Look, id_: str) -> Table | None:
    """One row per cell with `micro_batch = "max"`; None where no cell has it."""
    cells = study.trials[study.trials["record"].map(lambda record: bool(record.search))].drop_duplicates("cell")
    if cells.empty:
        return None
    several = cells["group"].nunique() > 1
    columns = (
        *([Column("group", number=False)] if several else []),
        Column("cell", number=False),
        Column("fits", "samples", "largest micro-batch that fits, per device and forward pass"),
        Column("of at most", "samples", "all samples of a step that one device takes"),
        Column("passes", "per step", "forward passes of a device in a step: the same maths at any micro-batch"),
        Column("peak", "MiB", METRICS["peak_allocated_bytes"].definition),
        Column("tries", "in order", "each in fresh processes; sizes that did not fit are tried twice", number=False),
    )
    rows = []
    for trial in cells.sort_values(["group", "label"], kind="stable").to_dict("records"):
        record: Record = trial["record"]
        named = [str(trial["group_label"])] if several else []
        rows.append(_row([*named, _named(str(trial["main"]), str(trial["options"]), record)], record, look))
    limits = {record.trial.memory_limit_bytes for record in cells["record"]}
    where = " or ".join(f"{memory_text(limit)} per device" if limit else "the device's memory" for limit in limits)
    return Table(id_, f"Largest micro-batch that fits into {where}", columns, rows)


def _named(main: str, options: str, record: Record) -> str:
    """The cell's label without what the next column tells."""
    rest = options.removeprefix(f"micro_batch {record.trial.micro_batch_text}").removeprefix(", ")
    return f"{main} ({rest})" if rest else main


def _row(names: Sequence[str], record: Record, look: Look) -> TableRow:
    trial, found = record.trial, record.trial.searched
    peaks = [each.peak_allocated_bytes for each in record.search if each.micro_batch == trial.micro_batch]
    peak = next((peak for peak in peaks if peak is not None), None) if found else None
    texts = (
        *names,
        str(trial.micro_batch) if found else "none",
        str(max(trial.among)),
        str(trial.accumulation) if found else ABSENT,
        ABSENT if peak is None else digits(peak / MIB),
        tries_text(record.search),
    )
    return TableRow(texts, look.css([trial.cell]), "ok" if found else "bad")


def tries_text(tries: Sequence[Try]) -> str:
    """`16 out of memory, 4 fits (98.9 MiB), 8 out of memory twice`: sizes in the order of their first try."""
    texts = []
    for size in dict.fromkeys(each.micro_batch for each in tries):
        own = [each for each in tries if each.micro_batch == size]
        fitted = next((each for each in own if each.status is Status.OK), None)
        refusals = len([each for each in own if each.status is not Status.OK])
        if fitted is None:
            texts.append(f"{size} {_ending(own[0])}{' twice' if refusals == 2 else ''}")
        else:
            peak = fitted.peak_allocated_bytes
            known = f" ({digits(peak / MIB)} MiB)" if peak is not None else ""
            texts.append(f"{size} fits{known}{', though not at first' if refusals else ''}")
    return ", ".join(texts)


def _ending(tried: Try) -> str:
    if tried.status is Status.OOM:
        return "out of memory"
    return f"{tried.status}: {tried.reason}" if tried.reason else str(tried.status)
