"""Stored sessions of `harness ab`, read back: who was compared with whom, and the rounds of every arm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analyse.measured_file import read_file
from harness.run.store import SESSION_FILE, SESSIONS
from harness.schema.errors import HarnessError, StoreError
from harness.schema.measured import Measured

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Version:
    """One side. commit: full hash, empty where there is none; spec: as it was typed; dirty: not as committed."""

    commit: str
    spec: str
    dirty: bool = False

    @property
    def name(self) -> str:
        """What stands for it: the commit, else what was typed."""
        return self.commit or self.spec


@dataclass(frozen=True)
class Session:
    """One session. lasting: by cell, its hash without the bytes of plug-ins, which change with the code."""

    folder: Path
    a: Version
    b: Version
    started_at: str
    suite: str
    plugins: tuple[str, ...]
    lasting: dict[str, str]
    rounds: dict[str, list[Measured]]
    """by arm: a, b, null"""

    def of(self, arm: str, cell: str) -> list[Measured]:
        """The rounds of one cell, by its lasting hash."""
        return [item for item in self.rounds[arm] if self.lasting.get(item.cell, item.cell) == cell]

    @property
    def commits(self) -> tuple[str, str]:
        """Of A and B."""
        return self.a.commit, self.b.commit

    @property
    def cells(self) -> list[str]:
        """Lasting hashes of all cells."""
        return list(dict.fromkeys(self.lasting.get(item.cell, item.cell) for item in self.rounds["a"]))


def read_sessions(results: Path, warn: Warn) -> list[Session]:
    """All sessions of a results folder that came to their end, oldest first; what cannot be read is warned of."""
    try:
        folders = sorted(path.parent for path in (results / SESSIONS).glob(f"*/{SESSION_FILE}"))
    except OSError as error:
        raise StoreError(f"results folder {results}: {error.filename or results}: {error.strerror}") from error
    found = []
    for folder in folders:
        try:
            found.append(read_session(folder))
        except HarnessError as error:
            warn(f"{str(error).splitlines()[0]}; the session is left out")
    return found


def read_session(folder: Path) -> Session:
    """One session. Raises HarnessError where its ab.json or the rounds of an arm cannot be read."""
    about = _about(folder / SESSION_FILE)
    if "ended_at" not in about:
        raise StoreError(f"{folder}: the session was cut off")
    rounds = {arm: _rounds(folder / f"{arm}.jsonl") for arm in ("a", "b", "null")}
    return Session(
        folder, _version(about.get("a")), _version(about.get("b")), str(about.get("started_at", "")),
        str(about.get("suite", "")), tuple(map(str, about.get("plugins") or ())),
        {str(cell): str(lasting) for cell, lasting in dict(about.get("lasting_cells") or {}).items()}, rounds,
    )  # fmt: skip


def _about(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: cannot be understood ({error})") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: found {type(content).__name__}, expected an object")
    return content


def _version(told: Any) -> Version:
    known = told if isinstance(told, dict) else {}
    return Version(str(known.get("commit") or ""), str(known.get("spec") or ""), bool(known.get("dirty")))


def _rounds(path: Path) -> list[Measured]:
    """A session in which no cell was new to a side has all arms; an arm without a round is an empty file."""
    if path.is_file() and path.stat().st_size == 0:
        return []
    return read_file(path)
