"""JSON schema files of everything that is read from outside or kept on disk, for editors and other languages."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from harness.schema.measured import Measured
from harness.schema.record import Record, RunInfo, StepSeries
from harness.schema.suite import Suite
from harness.schema.trial import Trial

SCHEMAS: dict[str, tuple[type[BaseModel], JsonSchemaMode]] = {
    "suite": (Suite, "validation"),
    "trial": (Trial, "serialization"),
    "record": (Record, "serialization"),
    "run": (RunInfo, "serialization"),
    "steps": (StepSeries, "serialization"),
    "measured": (Measured, "validation"),
}
"""File name → what it describes, as it is written by a person (validation) or by the harness (serialization)."""


def schema_text(name: str) -> str:
    """The JSON schema file of that name. Raises KeyError for a name that is not in SCHEMAS."""
    model, mode = SCHEMAS[name]
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(mode=mode)}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def export(folder: Path) -> list[Path]:
    """Write all schema files into a folder, which is made where it is missing; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in SCHEMAS:
        path = folder / f"{name}.json"
        path.write_text(schema_text(name), encoding="utf-8")
        written.append(path)
    return written
