"""Sizes of memory as people write them: `512MiB`, `1.5 GB`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
PATTERN = rf"^\s*([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(UNITS)})\s*$"
EXPECTED = f"a size above 0 with its unit ({', '.join(UNITS)}), for example '512MiB'"


def memory_bytes(text: str) -> int:
    """Bytes of a written size. Raises ValueError where it is none, or less than a byte."""
    found = re.match(PATTERN, text)
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if size < 1:
        raise ValueError(EXPECTED)
    return size


def memory_text(size_bytes: int) -> str:
    """The size in the largest binary unit of which it is at least one: `512 MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes >= UNITS[unit]:
            return f"{size_bytes / UNITS[unit]:.4g} {unit}"
    return f"{size_bytes} B"


def _written(value: object) -> object:
    try:
        memory_bytes(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PydanticCustomError("memory_size", f"Input should be {error}") from error
    return value


MemorySize = Annotated[str, BeforeValidator(_written), WithJsonSchema({"type": "string", "pattern": PATTERN})]
"""A size as written; `memory_bytes` is its value."""
