"""Files that trials left beside their figures (traces of the profiler, a sample of sound), as links from the page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.run.stored import StoredRun
from harness.schema.record import Record


@dataclass(frozen=True)
class KeptFile:
    """A file. what: what it is; path: from the run folder; href: from the page, None where no link would lead to it."""

    what: str
    path: str
    href: str | None


def kept_files(run: StoredRun, record: Record, page: Path | None) -> tuple[KeptFile, ...]:
    """What a trial left. page: the folder that the page lies in; None: it is not written to a file."""
    return tuple(KeptFile(what, path, _href(run.folder, path, page)) for what, path in record.artifacts.items())


def _href(folder: Path, path: str, page: Path | None) -> str | None:
    """From the page to the file: only to one that is there, and is in the run folder, whatever the record says."""
    if page is None:
        return None
    try:
        file = (folder / path).resolve(strict=True)
        if not file.is_file() or not file.is_relative_to(folder.resolve()):
            return None
        return quote(Path(os.path.relpath(file, page.resolve())).as_posix())
    except (OSError, ValueError):  # not there, a NUL byte, another drive
        return None
