"""The cache of prepared data: a training process reads arrays that were made once, in milliseconds.

One file per name and key: 32 bytes of sha256, then the arrays as npz. A file whose bytes do not match is made anew.
Files of other keys (another Python, another library, older code) are left where they are; the folder may be deleted
at any time.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.machine.cache_folder import cache_folder
from harness.schema.trial import content_hash

Arrays = dict[str, "np.ndarray[Any, Any]"]
"""Named arrays of numbers; no object arrays: nothing read from the cache is ever unpickled."""

DIGEST_LENGTH = hashlib.sha256().digest_size


def cached(name: str, key: object, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that `make()` returns, from the cache where they are there whole.

    key: whatever the arrays depend on, as JSON (a library's version); the source file that defines `make` is added to
    it, so that changed code is never given old data. Processes that write at the same time do not disturb one another:
    each writes a file of its own and renames it. Where the folder cannot be read or written, the arrays are made in
    memory.
    """
    path = _path(name, [name, key, _digest_of_source(make)])
    if path is None:
        return make()
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def arrays_and_scores(prepared: Arrays) -> tuple[Arrays, dict[str, float], str]:
    """Prepared data in three parts: the arrays; the single numbers among them, which are what predictors without a
    network score on the held-out part; and the sha256 of the arrays.
    """
    scores = {name: float(value) for name, value in prepared.items() if np.ndim(value) == 0}
    arrays = {name: array for name, array in prepared.items() if name not in scores}
    return arrays, scores, hash_arrays(*arrays.values())


def hash_arrays(*arrays: np.ndarray[Any, Any]) -> str:
    """The sha256 of the arrays' types, shapes and bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _path(name: str, key: object) -> Path | None:
    try:
        return cache_folder() / f"{name}-{content_hash(key)}.arrays"
    except RuntimeError:
        return None


def _digest_of_source(make: Callable[[], Arrays]) -> str:
    try:
        return hashlib.sha256(Path(make.__code__.co_filename).read_bytes()).hexdigest()
    except (OSError, AttributeError):
        return ""


def _read(path: Path) -> Arrays | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = memoryview(content)[DIGEST_LENGTH:]
    if hashlib.sha256(body).digest() != content[:DIGEST_LENGTH]:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes `allow_pickle` for one of the arrays
    body = buffer.getbuffer()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(hashlib.sha256(body).digest())
            file.write(body)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
