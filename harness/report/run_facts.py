"""A run in a few words: its machine, how its trials ended; and all that the terminal says of it as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from harness.analyse.answer import answers
from harness.analyse.caveats import caveats
from harness.analyse.cells import Cell
from harness.analyse.headline import Answer, ended
from harness.analyse.leads import overall
from harness.analyse.quantity import count
from harness.analyse.study import Group, Study
from harness.report.text import clip


def machine(environment: Mapping[str, Any]) -> list[str]:
    """The machine of a fingerprint in a few words: host, devices, torch, commit."""
    known = {key.rpartition(".")[2]: value for key, value in flat(environment)}
    names = environment.get("accelerator_names")
    devices = (
        ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) if isinstance(names, list) else ""
    )
    found = [
        known.get("host") or known.get("hostname"),
        devices or _processor(known.get("cpu_model", ""), environment.get("cores")),
        f"torch {known['torch']}" if "torch" in known else None,
        f"commit {known['git_commit'][:10]}" if known.get("git_commit", "unknown") not in ("unknown", "") else None,
    ]
    return [clip(text, 60) for text in found if text]


def _processor(model: str, cores: object) -> str:
    return f"{model}, {count(len(cores), 'core')}" if isinstance(cores, list) and model else model


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as dotted keys with values as text."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(str(part) for part in value) or "none"
        else:
            yield name, "unknown" if value is None or value == {} else str(value)


def counts(each: Study) -> list[tuple[str, str]]:
    """How the trials ended, as (kind, text): `60 of 66 ok`, `6 not supported here`, `4 failed`, `2 not reached`."""
    ok, failed, off = each.ok, len(each.failures), len(each.unsupported)
    planned = max(each.run.info.planned, len(each.trials))
    missing = planned - len(each.trials)
    found = [
        ("ok" if ok else "bad", f"{ok:,} of {planned:,} ok"),
        ("off", f"{off:,} not supported here" if off else ""),
    ]
    found += [("bad" if failed else "ok", f"{failed:,} failed"), ("bad", f"{missing:,} not reached" if missing else "")]
    return [(kind, text) for kind, text in found if text]


def as_json(each: Study) -> dict[str, Any]:
    """What `harness show` says of a run, for other programs. Figures of cells are in the units of their metrics."""
    info = each.run.info
    return {
        "run": each.run.folder.name,
        "folder": str(each.run.folder),
        "question": info.question,
        "machine": machine(info.environment),
        "machine_key": info.machine_key,
        "started_at": info.started_at,
        "ended_at": info.ended_at,
        "planned": info.planned,
        "ok": each.ok,
        "failed": len(each.failures),
        "unsupported": len(each.unsupported),
        "overall": overall(each),
        "groups": [_group(said, group) for said, group in zip(answers(each), each.groups, strict=True)],
        "failures": [_failure(trial) for trial in each.failures.to_dict("records")],
        "caveats": caveats(each),
    }


def _group(said: Answer, group: Group) -> dict[str, Any]:
    return {
        "group": said.group,
        "place": said.place,
        "headline": "".join(part.text for part in said.headline),
        "settled": said.settled,
        "details": list(said.details),
        "cells": [_cell(cell) for cell in group.order],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "cell": cell.cell,
        "label": cell.label,
        "is_baseline": cell.is_baseline,
        "ok": cell.ok,
        "rounds": cell.rounds,
        "ended": "ok" if cell.ok else ended(cell),
        "verdict": cell.verdict,
        "throughput_ratio": asdict(cell.ratio) if cell.ratio else None,
        "metrics": cell.metrics,
    }


def _failure(trial: dict[Any, Any]) -> dict[str, Any]:
    record = trial["record"]
    return {
        "trial": record.trial.id,
        "group": trial["group_label"],
        "label": trial["label"],
        "round": trial["repeat"] + 1,
        "seed": trial["seed"],
        "status": record.status.value,
        "phase": record.phase.value,
        "reason": record.reason,
        "command": record.command,
    }
