"""The page: one self-contained HTML file that opens from disk, loads nothing, and is whole without JavaScript."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.analyse.answer import answers
from harness.analyse.caveats import caveats
from harness.analyse.headline import Answer
from harness.analyse.leads import overall
from harness.analyse.quantity import count, digits, duration
from harness.analyse.study import Group, Study, study
from harness.analyse.tiles import Tile, tiles
from harness.report import tables
from harness.report.chips import axes_and_look
from harness.report.data_line import data_line
from harness.report.document import rendered
from harness.report.figures import GROUPS_AT_MOST, Figure, figures
from harness.report.fit_table import fit_table
from harness.report.look import Look
from harness.report.predicted_table import predicted_table
from harness.report.proofs_table import proofs_table, shared_facts
from harness.report.run_facts import counts, machine
from harness.report.section import Section
from harness.report.sections import sections
from harness.report.text import clip
from harness.report.whole_file import write_whole
from harness.report.why_table import why_table
from harness.run.stored import StoredRun

GLYPHS = {"fp32": "●", "bf16": "◆", "fp16": "▲", "tf32": "▶", "bf16_weights": "■", "fp8": "▼"}


@dataclass(frozen=True)
class GroupView:
    """A group in the page: its figures, its tables, and what its data are. figures is empty beyond the first groups."""

    id: str
    group: Group
    data: str
    figures: list[Figure]
    cells: tables.Table
    why: tables.Table | None
    predicted: tables.Table | None


@dataclass(frozen=True)
class RunView:
    """All that the template shows of one run."""

    id: str
    study: Study
    machine: list[str]
    counts: list[tuple[str, str]]
    overall: list[str]
    answers: list[Answer]
    tiles: list[Tile]
    sections: list[Section]
    groups: list[GroupView]
    failures: list[tables.Failure]
    not_run: list[tuple[str, str, list[str]]]
    fits: tables.Table | None
    trials: tables.Table
    shared_facts: list[str]
    proofs: tables.Table
    environment: list[tuple[str, str]]
    provenance: list[tuple[str, str]]
    suite: str
    caveats: list[str]


def build_page(run: StoredRun | Sequence[StoredRun], folder: Path | None = None) -> str:
    """The whole page as HTML. Several runs stand under one another: rounds of different runs are never paired.

    folder: where the page is going to lie; None: files of the runs are named and not linked.
    """
    runs = [run] if isinstance(run, StoredRun) else list(run)
    studies = [study(each) for each in runs]
    axes, look = axes_and_look(studies)
    views = [_view(each, look, f"r{number}", folder) for number, each in enumerate(studies)]
    precisions = _precisions(studies)
    question = runs[0].info.question if len(runs) == 1 else f"{len(runs)} runs"
    return rendered(
        "page.html.j2",
        views=views,
        question=question,
        title=clip(question, 90),
        run_names=[each.folder.name for each in runs],
        axes=axes,
        precisions=[(GLYPHS.get(name, "✚"), name) for name in precisions],
        glossary=tables.glossary(),
        groups_at_most=GROUPS_AT_MOST,
    )


def _precisions(studies: Sequence[Study]) -> list[str]:
    """Precisions that the pictures tell apart by shape, in the order of the shapes; none where there is but one."""
    found = {
        str(name)
        for each in studies
        for name, status in zip(each.trials["precision"], each.trials["status"], strict=True)
        if status != "UNSUPPORTED"
    }
    order = list(GLYPHS)
    shown = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    return shown if len(shown) > 1 else []


def write_page(run: StoredRun | Sequence[StoredRun], path: Path) -> None:
    """Write the page so that at any moment either the old or the whole new one is there.

    Raises StoreError where the file cannot be written.
    """
    write_whole(path, build_page(run, path.parent), "page")


def _view(each: Study, look: Look, prefix: str, folder: Path | None) -> RunView:
    info = each.run.info
    return RunView(
        id=prefix,
        study=each,
        machine=machine(info.environment),
        counts=counts(each),
        overall=overall(each) if len(each.groups) > 1 else [],
        answers=answers(each),
        tiles=tiles(each),
        sections=sections(each, look, prefix),
        groups=[_group_view(each, group, look, f"{prefix}g{group.number}", folder) for group in each.groups],
        failures=tables.failures(each, look),
        not_run=tables.not_run(each),
        fits=fit_table(each, look, f"{prefix}-fits"),
        trials=tables.trials_table(each, look, f"{prefix}-trials"),
        shared_facts=shared_facts(each),
        proofs=proofs_table(each, look, f"{prefix}-proofs"),
        environment=tables.environment(each),
        provenance=provenance(each),
        suite=json.dumps(info.suite, indent=1, ensure_ascii=False),
        caveats=caveats(each),
    )


def _group_view(each: Study, group: Group, look: Look, prefix: str, folder: Path | None) -> GroupView:
    drawn = figures(each, group, look, prefix) if group.number < GROUPS_AT_MOST else []
    cells, why, predicted = (
        tables.cells_table(group, look, f"{prefix}-cells"),
        why_table(each, group, look, f"{prefix}-why", folder),
        predicted_table(group, look, f"{prefix}-predicted"),
    )
    return GroupView(prefix, group, data_line(each, group), drawn, cells, why, predicted)


def provenance(each: Study) -> list[tuple[str, str]]:
    """Where the figures come from: command, suite, times, cost of the harness itself."""
    info = each.run.info
    overhead = [value for value in each.trials.get("harness_overhead_s", []) if value == value]
    rows: list[tuple[str, Any]] = [
        ("command", info.command),
        ("suite", info.suite_file),
        ("run folder", each.run.folder.name),
        ("started", info.started_at),
        ("ended", info.ended_at or "cut off"),
        ("took", _took(info.started_at, info.ended_at)),
        ("traces of the profiler", _traces(each)),
        ("machine key", info.machine_key),
        ("harness", info.harness_version),
        ("CPU of the parent process", duration(info.parent_cpu_s) if info.parent_cpu_s is not None else ""),
        (
            "overhead of a trial, mean",
            duration(sum(overhead) / len(overhead)) if overhead else "",
        ),
    ]
    return [*((key, str(value)) for key, value in rows if value), *peaks(each), *not_measured(each)]


def _traces(each: Study) -> str:
    kept = [record.artifacts for record in each.run.records if record.trial.kind == "trace" and record.artifacts]
    return (
        f"{count(len(kept), 'cell')}, in the run folder under traces/, for harness profile, Perfetto or chrome://tracing"
        if kept
        else ""
    )


def peaks(each: Study) -> list[tuple[str, str]]:
    """What MFU is measured against: matrix products timed on this machine, and the datasheet's figure where known."""
    found = []
    for peak in each.run.info.peaks:
        where = f"{peak.name or peak.device}, {count(peak.cores, 'core')}" if peak.cores else peak.name or peak.device
        said = [f"{_flops(peak.flops_per_s)} measured" if peak.flops_per_s else f"not measured: {peak.absent}"]
        if peak.datasheet_flops_per_s:
            said.append(f"{_flops(peak.datasheet_flops_per_s)} by {peak.datasheet}")
        found.append((f"peak in {peak.precision} on {where}", ", ".join(said)))
    return found


def _flops(per_s: float) -> str:
    return f"{digits(per_s / 1e12)} TFLOP/s" if per_s >= 1e12 else f"{digits(per_s / 1e9)} GFLOP/s"


def not_measured(each: Study) -> list[tuple[str, str]]:
    """What could not be read, with the reason and in how many trials: absent, never 0."""
    reasons: Counter[tuple[str, str]] = Counter()
    for record in each.trials["record"]:
        absent = record.per_rank[0].facts.get("absent") if record.per_rank else None
        for known in (absent, record.absent):
            if isinstance(known, dict):
                reasons.update((str(what), str(reason)) for what, reason in known.items())
    return [(f"{what}: not measured", f"{reason} ({count(n, 'trial')})") for (what, reason), n in reasons.items()]


def _took(start: str, end: str | None) -> str:
    try:
        return duration((datetime.fromisoformat(end or "") - datetime.fromisoformat(start)).total_seconds())
    except (ValueError, TypeError):
        return ""
