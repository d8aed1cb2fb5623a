"""Table of the page: of each cell its parity, its warm-up, and what was read from the live objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping
from typing import Any

from harness.analyse.quantity import ABSENT
from harness.analyse.study import Study
from harness.report.columns import Column
from harness.report.look import Look
from harness.report.tables import Table, TableRow
from harness.report.text import clip
from harness.schema.record import Applied, Parity, Record


def proofs_table(study: Study, look: Look, id_: str) -> Table:
    """Of each cell: parity with one process in fp32, how warm-up ended, and what was read from the live objects."""
    trials = study.trials[study.trials["status"] != "UNSUPPORTED"].drop_duplicates("cell")
    trials = trials.sort_values(["group", "label"], kind="stable")
    several = study.trials["group"].nunique() > 1
    columns = (
        *([Column("group", number=False)] if several else []),
        *(Column(title, number=False) for title in ("cell", "parity", "class")),
        Column("loss", "error"), Column("loss", "tolerance"), Column("gradient norm", "error"),
        Column("gradient norm", "tolerance"), Column("warm-up", "", "steps before the timed window", number=False),
        Column("found on the live objects", "", "facts that were asked for", number=False),
    )  # fmt: skip
    known = shared_facts(study)
    rows = [_proof_row(trial, look, several, known) for trial in trials.to_dict("records")]
    return Table(id_, "Parity and applied facts, first round of each cell", columns, rows)


def shared_facts(study: Study) -> list[str]:
    """Facts that were found as asked on the live objects of all cells alike: said once, above the table."""
    trials = study.trials[study.trials["status"] != "UNSUPPORTED"].drop_duplicates("cell")
    found = [{_told(fact) for fact in _asked(record) if fact.ok} for record in trials["record"]]
    return sorted(set.intersection(*found)) if len(found) > 1 else []


def _asked(record: Record) -> list[Applied]:
    return [fact for fact in record.applied if fact.asked is not None or not fact.ok]


def _told(fact: Applied) -> str:
    return f"{fact.fact} {_fact(fact.found)}" + ("" if fact.ok else f" (asked {_fact(fact.asked)})")


def _proof_row(trial: Mapping[Hashable, Any], look: Look, several: bool, known: Collection[str]) -> TableRow:
    record: Record = trial["record"]
    parity, warmup = (
        record.parity or Parity(status="unchecked", equivalence=ABSENT, reason="not reached"),
        record.warmup,
    )
    compared = (parity.loss_error, parity.loss_tolerance, parity.grad_norm_error, parity.grad_norm_tolerance)
    facts = ", ".join(told for fact in _asked(record) if (told := _told(fact)) not in known)
    texts = (
        *([str(trial["group_label"])] if several else []),
        str(trial["label"]),
        f"{parity.status}: {parity.reason}" if parity.reason else parity.status,
        parity.equivalence,
        *(ABSENT if value is None else f"{value:.1e}".replace("-", "−") if value else "0" for value in compared),
        f"{warmup.steps} steps, {'steady' if warmup.steady else 'not steady'}" if warmup else ABSENT,
        clip(facts, 600) or ABSENT,
    )
    bad = parity.status == "failed" or not all(fact.ok for fact in record.applied)
    return TableRow(texts, look.css([str(trial["cell"])]), "bad" if bad else "ok")


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
