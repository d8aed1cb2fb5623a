"""The index: all runs and sessions of a results folder on one page, newest first, each with what it said."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from harness.report.document import rendered
from harness.report.headlines import Entry, entries
from harness.report.whole_file import write_whole

NAME = "index.html"
HEAD_BYTES = 16384
"""Of a page that is looked at for whose it is: that stands before the styles."""
RUN_META = re.compile(r'<meta name="dynamometer-run" content="([^"]*)">')
OURS = '<meta name="generator" content="Dynamometer index">'


@dataclass(frozen=True)
class Line:
    """An entry as the index shows it. when: to the minute, UTC; page (or empty), folder: links from the index."""

    entry: Entry
    when: str
    took_s: float | None
    page: str
    folder: str


def build_index(results: Path, output: Path) -> str:
    """The page as HTML. output: where it will stand; links are relative to that. Raises StoreError."""
    pages = pages_of(output)
    lines = [_line(entry, results, output, pages) for entry in entries(results)]
    return rendered(
        "index.html.j2",
        styles=("style.css", "index.css"),
        script_file="index.js",
        lines=lines,
        results=str(results),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    )


def write_index(results: Path, output: Path) -> None:
    """Write the index whole or not at all. Raises StoreError."""
    write_whole(output, build_index(results, output), "index")


def write_beside(page: Path, results: Path) -> Path | None:
    """Write the index into the folder of a page; its path, or None where that place has a file that is not ours."""
    path = page.parent / NAME
    if path == page or (path.exists() and OURS not in head_of(path)):
        return None
    write_index(results, path)
    return path


def pages_of(output: Path) -> dict[str, str]:
    """By name of a run: the newest page about it in the folder of the index or in one within, as a relative link."""
    found: dict[str, tuple[float, str]] = {}
    for path in _html_files(output.parent):
        if path == output:
            continue
        for name in RUN_META.findall(head_of(path)):
            made = (path.stat().st_mtime, link(path, output))
            found[html.unescape(name)] = max(found.get(html.unescape(name), made), made)
    return {name: target for name, (_made, target) in found.items()}


def _html_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*.html", "*/*.html"):
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file())


def head_of(path: Path) -> str:
    """The beginning of a file; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES).decode(errors="replace")
    except OSError:
        return ""


def link(target: Path, output: Path) -> str:
    """A relative link from the index to a file or folder."""
    return quote(os.path.relpath(target, output.parent).replace(os.sep, "/"))


def _line(entry: Entry, results: Path, output: Path, pages: dict[str, str]) -> Line:
    start, end = _time(entry.started_at), _time(entry.ended_at)
    return Line(
        entry=entry,
        when=start.strftime("%Y-%m-%d %H:%M") if start else "",
        took_s=(end - start).total_seconds() if start and end and end >= start else None,
        page=pages.get(entry.name, ""),
        folder=link(results / entry.folder, output) + "/",
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
