"""Tables of the page: cells of a group, trials, proofs that strategies did what was asked, failures, environment."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.analyse.cells import MEMORY, SPEED, Cell
from harness.analyse.headline import ended
from harness.analyse.quantity import ABSENT, between, digits, size, times
from harness.analyse.study import Group, Study
from harness.report.columns import MIB, Column, measures
from harness.report.kept_files import KeptFile
from harness.report.look import Look
from harness.report.run_facts import flat
from harness.report.text import tail
from harness.schema.metrics import METRICS, Metric
from harness.schema.record import RankResult, Record

FAILURES_AT_MOST = 60
MEMORY_RATIO = 8
"""Place of that column in the table of cells."""


@dataclass(frozen=True)
class TableRow:
    """A row: texts of its cells; filter: CSS classes; kind: `ok`, `bad`, `off` or `base`; files: in a last cell."""

    cells: tuple[str, ...]
    filter: str
    kind: str = "ok"
    files: tuple[KeptFile, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of the page. caption says what its rows are."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: list[TableRow]

    @property
    def numbers(self) -> str:
        """A CSS class per column of figures: said once at the table, not at each of its cells."""
        return " ".join(f"n{at}" for at, column in enumerate(self.columns, start=1) if column.number)


def cells_table(group: Group, look: Look, id_: str) -> Table:
    """Every cell of a group with its figures, fastest first, then those without a figure.

    Columns without any figure are left out, and of a cell alone those that compare it.
    """
    held_out = group.held_out
    columns = (
        Column("cell", number=False),
        Column("verdict", number=False, means="against the baseline, Holm-corrected over all cells"),
        Column("speed", "× baseline", "mean over rounds of throughput ÷ the baseline's"),
        Column("interval", "95 %", "two-sided t interval over rounds", number=False),
        Column("throughput", f"{group.unit}s/s"),
        Column("step", "ms", METRICS["step_s"].definition),
        Column("CPU per step", "ms", METRICS["step_cpu_s"].definition),
        Column("memory", "MiB", METRICS[MEMORY].definition),
        Column("memory", "× baseline"),
        Column("held out", held_out.name if held_out else "", f"after {held_out.step} steps" if held_out else ""),
        *(column for column, _name, _scale in measures(group)),
        Column("rounds", "ok of all", number=False),
    )
    rows = [_cell_row(group, cell, look) for cell in group.order]
    table = Table(id_, f"Cells of {group.label}", columns, rows)
    compared = () if len(group.cells) > 1 else (*range(1, 4), MEMORY_RATIO)
    return without_columns(table, {at for at in range(len(columns)) if at in compared or _says_nothing(table, at)})


def _says_nothing(table: Table, at: int) -> bool:
    return bool(table.rows) and all(row.cells[at] == ABSENT for row in table.rows)


def without_columns(table: Table, left_out: Collection[int]) -> Table:
    """The table without the columns at these places."""
    kept = [at for at in range(len(table.columns)) if at not in left_out]
    rows = [replace(row, cells=tuple(row.cells[at] for at in kept)) for row in table.rows]
    return replace(table, columns=tuple(table.columns[at] for at in kept), rows=rows)


def _cell_row(group: Group, cell: Cell, look: Look) -> TableRow:
    bad = "off" if cell.status == "UNSUPPORTED" else "bad"
    verdict = ended(cell) if not cell.ok else "baseline" if cell.is_baseline else cell.verdict or "no ratio"
    held_out = group.held_out.values.get(cell.cell) if group.held_out else None
    metric = cell.metrics.get
    texts = (
        cell.label,
        verdict,
        _number(cell.speed, 1, _ratio),
        (between(cell.ratio.low, cell.ratio.high) if cell.ratio else "") or ABSENT,
        _number(metric(group.rate), 1, _precise),
        _number(metric("step_s"), 1e-3),
        _number(metric("step_cpu_s"), 1e-3),
        _number(metric(MEMORY), MIB),
        _number(cell.memory, 1, _ratio),
        _number(held_out, 1, _precise),
        *(_number(metric(name), scale) for _column, name, scale in measures(group)),
        f"{cell.ok} of {cell.rounds}",
    )
    return TableRow(texts, look.css([cell.cell]), bad if not cell.ok else "base" if cell.is_baseline else "ok")


def _ratio(value: float) -> str:
    return times(value)[:-1]


def _precise(value: float) -> str:
    return digits(value, 4)


TRIAL_COLUMNS: tuple[tuple[Column, str, float], ...] = (
    (Column("throughput", "samples/s"), SPEED, 1),
    (Column("step", "ms"), "step_s", 1e-3),
    (Column("CPU per step", "ms"), "step_cpu_s", 1e-3),
    (Column("data wait", "ms"), "data_wait_s", 1e-3),
    (Column("memory", "MiB"), MEMORY, MIB),
    (Column("resident", "MiB"), "peak_rss_bytes", MIB),
    (Column("energy", "J/sample", METRICS["joules_per_sample"].definition), "joules_per_sample", 1),
    (Column("power", "W"), "power_w", 1),
    (Column("loss", ""), "loss", 1),
    (Column("warm-up", "steps"), "warmup_steps", 1),
    (Column("first step", "s"), "first_step_s", 1),
    (Column("overhead", "s", METRICS["harness_overhead_s"].definition), "harness_overhead_s", 1),
    (Column("whole trial", "s"), "trial_s", 1),
)
SILENT = frozenset({"PARITY_FAILED", "NOT_APPLIED"})
"""Endings whose figures are of something else than was asked: they are not shown."""


def trials_table(study: Study, look: Look, id_: str) -> Table:
    """Every trial. Figures of trials that did not do what was asked are left out: they would be of something else."""
    several = study.trials["seed"].nunique() > 1
    known = [(column, name, scale) for column, name, scale in TRIAL_COLUMNS if name in study.trials]
    columns = (
        *(Column(title, number=False) for title in ("trial", "group", "cell", "status")),
        Column("round"),
        *([Column("seed")] if several else []),
        *(column for column, _name, _scale in known),
    )
    rows = []
    named = ["trial_id", "cell", "group_label", "label", "status", "repeat", "seed"]
    for trial in study.trials[[*named, *(name for _column, name, _scale in known)]].to_dict("records"):
        status = str(trial["status"])
        shown = [ABSENT if status in SILENT else _trial_number(trial[name], name, scale) for _c, name, scale in known]
        place = [str(trial["repeat"] + 1), *([str(trial["seed"])] if several else [])]
        texts = (str(trial["trial_id"]), str(trial["group_label"]), str(trial["label"]), status, *place, *shown)
        kind = "ok" if status == "OK" else "off" if status == "UNSUPPORTED" else "bad"
        rows.append(TableRow(texts, look.css([str(trial["cell"])]), kind))
    return Table(id_, "Every trial of the run", columns, rows)


def _trial_number(value: float, name: str, scale: float) -> str:
    return _number(value, scale, _whole if METRICS[name].unit == "1" and value == value // 1 else digits)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Failure:
    """Trials of one cell that ended alike."""

    status: str
    group: str
    cell: str
    rounds: str
    phase: str
    reason: str
    last_words: str
    traceback: str
    command: str
    filter: str


def failures(study: Study, look: Look) -> list[Failure]:
    """Trials that did not end well, those of one cell that ended alike together, with the last words of the first."""
    alike: dict[tuple[str, ...], list[Mapping[Hashable, Any]]] = {}
    for trial in study.failures.to_dict("records"):
        key = tuple(str(trial[name]) for name in ("cell", "status", "phase", "reason"))
        alike.setdefault(key, []).append(trial)
    seeded = study.trials["seed"].nunique() > 1
    return [_failure(trials, look, seeded) for trials in alike.values()]


def _failure(trials: Sequence[Mapping[Hashable, Any]], look: Look, seeded: bool) -> Failure:
    record: Record = trials[0]["record"]
    rank, status = _who_speaks(record), record.status.value
    rounds = ", ".join(str(repeat + 1) for repeat in sorted({trial["repeat"] for trial in trials}))
    seeds = f", seed {', '.join(str(seed) for seed in sorted({trial['seed'] for trial in trials}))}" if seeded else ""
    return Failure(
        status=status,
        group=str(trials[0]["group_label"]),
        cell=str(trials[0]["label"]),
        rounds=f"round{'s' if ',' in rounds else ''} {rounds}{seeds}",
        phase=record.phase.value,
        reason=record.reason or "no reason was recorded",
        last_words=_last_words(rank),
        traceback=tail(rank.traceback or "") if rank else "",
        command=record.command,
        filter=look.css([record.trial.cell]),
    )


def _who_speaks(record: Record) -> RankResult | None:
    """The rank whose last words are shown: the first that died by itself, else the first that said anything."""
    ranks = record.per_rank
    died = [rank for rank in ranks if rank.signal or rank.traceback or rank.exit_code]
    return next(iter([*died, *(rank for rank in ranks if rank.stderr_tail)]), None)


def _last_words(rank: RankResult | None) -> str:
    if rank is None or not (rank.stderr_tail or rank.signal or rank.exit_code):
        return ""
    signal = f", signal {rank.signal}" if rank.signal else ""
    code = f", exit code {rank.exit_code}" if rank.exit_code else ""
    return f"rank {rank.rank}{signal}{code}\n{tail(rank.stderr_tail)}".strip()


def not_run(study: Study) -> list[tuple[str, str, list[str]]]:
    """Cells that cannot run on this machine: group, reason, labels."""
    found: dict[tuple[str, str], list[str]] = {}
    for trial in study.unsupported.to_dict("records"):
        labels = found.setdefault((str(trial["group_label"]), str(trial["reason"] or "no reason was recorded")), [])
        labels.append(str(trial["label"]))
    return [(group, reason, list(dict.fromkeys(labels))) for (group, reason), labels in found.items()]


def environment(study: Study) -> list[tuple[str, str]]:
    """The machine and everything that may explain a number, flat: (key, value)."""
    found = flat(study.run.info.environment)
    return [(key, _bytes(value) if key.endswith("_bytes") else value) for key, value in found]


def _bytes(value: str) -> str:
    return ", ".join(size(int(part)) if part.isdecimal() else part for part in value.split(", "))


def glossary() -> list[Metric]:
    """Every metric of the dictionary."""
    return list(METRICS.values())


def _number(value: float | None, scale: float, write: Callable[[float], str] = digits) -> str:
    return ABSENT if value is None or math.isnan(value) else write(value / scale)
