"""Are the data the ones that a workload was made for, and that stored trials were trained on? Pure.

A library's new version, another Python or a damaged cache can change data without anybody asking for it. Then targets
and trivial baselines no longer hold, and older records are of another task: refused, unless the person accepts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.schema.errors import InputError, Problem
from harness.schema.record import Record

ACCEPT = "--accept-other-data"
SHOWN = 12
"""digits of a sha256 that are shown"""


def refuse_other_data(prepared: Mapping[str, Mapping[str, Any]], accepted: bool) -> None:
    """Raise InputError where a workload's data are not those recorded for it, unless that is accepted.

    prepared: by workload and size, what `measure/prepare` found.
    """
    problems = [
        Problem(
            "data",
            name,
            f"sha256 {str(facts['data_hash'])[:SHOWN]}…",
            f"{str(facts['recorded_hash'])[:SHOWN]}…, for which its target was found; {ACCEPT} runs it all the same, "
            "compared with no older record",
        )
        for name, facts in prepared.items()
        if is_other(facts)
    ]
    if problems and not accepted:
        raise InputError(problems)


def is_other(facts: Mapping[str, Any]) -> bool:
    """Whether a workload's data are others than recorded; False where nothing is recorded, or nothing was prepared."""
    recorded = facts.get("recorded_hash")
    return bool(recorded) and facts.get("data_hash") != recorded


def of_same_data(
    kept: Mapping[str, tuple[Record, Any]], prepared: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[Record, Any]]:
    """Of stored trials, by id, those that were trained on the data that are here now. Unknown on either side: kept."""
    return {
        key: value
        for key, value in kept.items()
        if (now := data_hash_now(value[0], prepared)) is None or (then := data_hash_of(value[0])) is None or now == then
    }


def data_hash_now(record: Record, prepared: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The hash of the data that the record's workload has here."""
    return prepared.get(f"{record.trial.workload.label}/{record.trial.size}", {}).get("data_hash") or None


def data_hash_of(record: Record) -> str | None:
    """The hash of the data that a record was trained on; None: it does not say."""
    return next((rank.facts["data_hash"] for rank in record.per_rank if rank.facts.get("data_hash")), None)
