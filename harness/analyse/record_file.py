"""A file of records (trials.jsonl) as a run: with the run.json beside it where there is one, else by itself."""

from __future__ import annotations

import json
from pathlib import Path

from harness.run.store import RUN_FILE
from harness.run.stored import StoredRun, read_records, read_run
from harness.schema.errors import StoreError
from harness.schema.record import RunInfo


def read_record_file(path: Path) -> StoredRun | None:
    """The run that a file of records is of; None: it is a file of something else. Raises StoreError as `read_run`.

    Without a run.json beside it the file is a session of its own, and no cell of it is known to be the baseline.
    """
    if not _holds_records(path):
        return None
    if (path.parent / RUN_FILE).is_file():
        return read_run(path.parent)
    warnings: list[str] = []
    try:
        records = read_records(path, warnings.append)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    info = RunInfo(
        suite={}, suite_file="", question="", machine_key=records[0].environment if records else "", environment={},
        planned=len(records), command="", started_at="", ended_at="", session=str(path.resolve()),
    )  # fmt: skip
    return StoredRun(path, info, records, warnings=warnings, lost=warnings)


def _holds_records(path: Path) -> bool:
    """Whether the first line that is whole is a record: a measured round has no trial."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    content = json.loads(line)
                    return isinstance(content, dict) and {"trial", "status"} <= content.keys()
    except (OSError, ValueError):
        return False
    return False
