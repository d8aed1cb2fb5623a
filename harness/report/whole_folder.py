"""A folder that is there whole or not at all: written beside its place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.schema.errors import InputError, Problem, StoreError


@contextmanager
def whole_folder(path: Path, what: str) -> Iterator[Path]:
    """The folder to write into; at the end it takes the place of `path`, after an error nothing of it is left.

    what: what it is, for the message. Raises InputError where there is something already, StoreError where it cannot
    be written.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError([Problem("-o", "", str(path), f"a folder for the {what} that is new or empty")])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise StoreError(f"{what} {path}: {error.filename}: {error.strerror}") from error
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():
            path.rmdir()
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{what} {path}: {error.filename or path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
