"""Files that others read: written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from harness.schema.errors import StoreError


def write_whole(path: Path, text: str, what: str = "file") -> None:
    """Write a text so that at any moment either the old or the whole new one is there.

    Raises StoreError, saying `what` it is, where the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode("utf-8", errors="replace"))
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"{what} {path}: {error.strerror or error}") from error
