"""Stored sessions of `harness ab`, read back: who was compared with whom, and the rounds of every arm."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analyse.gate import Outcome
from harness.analyse.measured_file import read_file
from harness.run.store import SESSION_FILE, SESSIONS
from harness.schema.errors import HarnessError, StoreError, clip
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

    @property
    def title(self) -> str:
        """As it was typed, and the commit where that is another word."""
        commit = self.commit[:10]
        return f"{self.spec} ({commit})" if commit and commit not in self.spec else self.spec


@dataclass(frozen=True)
class About:
    """What ab.json says of a session, also of one that was cut off. ended_at: empty then; outcome: of the gate, None
    where it was not asked; environment: the machine's; lasting: by cell, its hash without the bytes of plug-ins, which
    change with the code.
    """

    folder: Path
    a: Version
    b: Version
    started_at: str
    ended_at: str
    outcome: Outcome | None
    environment: dict[str, Any]
    suite: str
    plugins: tuple[str, ...]
    lasting: dict[str, str]

    @property
    def commits(self) -> tuple[str, str]:
        """Of A and B."""
        return self.a.commit, self.b.commit

    @property
    def question(self) -> str:
        """What the session was to answer."""
        return f"{Path(self.suite).name}: is {self.b.title} slower than {self.a.title}?"


@dataclass(frozen=True)
class Session(About):
    """One session that came to its end, with its rounds."""

    rounds: dict[str, list[Measured]]
    """by arm: a, b, null"""

    def of(self, arm: str, cell: str) -> list[Measured]:
        """The rounds of one cell, by its lasting hash."""
        return [item for item in self.rounds[arm] if self.lasting.get(item.cell, item.cell) == cell]

    @property
    def stages(self) -> tuple[dict[str, list[Measured]], dict[str, list[Measured]]]:
        """By arm, the rounds of cells that were only screened, and the confirming ones of all others."""
        late = {arm: [each for each in items if _confirms(each)] for arm, items in self.rounds.items()}
        only = {arm: [each for each in items if not _confirms(each)] for arm, items in self.rounds.items()}
        return only, late

    @property
    def labels(self) -> dict[str, str]:
        """By cell (hash), its name."""
        return {item.cell: item.label for items in self.rounds.values() for item in items}

    @property
    def cells(self) -> list[str]:
        """Lasting hashes of all cells."""
        return list(dict.fromkeys(self.lasting.get(item.cell, item.cell) for item in self.rounds["a"]))


def _confirms(each: Measured) -> bool:
    return each.round.startswith("confirm")


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
    """One session. Raises HarnessError where it was cut off, or its ab.json or the rounds of an arm cannot be read."""
    about = read_about(folder)
    if not about.ended_at:
        raise StoreError(f"{folder}: the session was cut off")
    return Session(**vars(about), rounds={arm: _rounds(folder / f"{arm}.jsonl") for arm in ("a", "b", "null")})


def read_about(folder: Path) -> About:
    """What was compared with whom, and what came of it. Raises StoreError where ab.json cannot be read."""
    path = folder / SESSION_FILE
    told = _object(path)
    cells, environment = told.get("lasting_cells"), told.get("environment")
    return About(
        folder, _version(path, told, "a"), _version(path, told, "b"), str(told.get("started_at") or ""),
        str(told.get("ended_at") or ""), _outcome(path, told.get("outcome")),
        environment if isinstance(environment, dict) else {}, str(told.get("suite") or ""),
        tuple(map(str, told.get("plugins") or ())),
        {str(cell): str(lasting) for cell, lasting in (cells if isinstance(cells, dict) else {}).items()},
    )  # fmt: skip


def counted_rounds(folder: Path) -> Counter[str]:
    """How many rounds of B each cell has so far, without reading what was measured; a torn line is none."""
    found: Counter[str] = Counter()
    with contextlib.suppress(OSError):
        for line in (folder / "b.jsonl").read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found[str(json.loads(line)["cell"])] += 1
    return found


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(
            f"session {path.parent} has no {path.name}: expected a folder that `harness ab` wrote"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: cannot be understood ({error})") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: found {type(content).__name__}, expected an object")
    return content


def _version(path: Path, told: dict[str, Any], side: str) -> Version:
    known = told.get(side)
    if not isinstance(known, dict) or not known.get("spec"):
        raise StoreError(f"{path}: {side}: found {clip(known)}, expected an object with spec and commit")
    return Version(str(known.get("commit") or ""), str(known["spec"]), bool(known.get("dirty")))


def _outcome(path: Path, word: Any) -> Outcome | None:
    """The gate's, by its name as the file has it."""
    known = {each.name.lower(): each for each in Outcome}
    if word is not None and word not in known:
        raise StoreError(f"{path}: outcome: found {clip(word)}, expected one of {', '.join(known)}")
    return known.get(word)


def _rounds(path: Path) -> list[Measured]:
    """A session in which no cell was new to a side has all arms; an arm without a round is an empty file."""
    if path.is_file() and path.stat().st_size == 0:
        return []
    return read_file(path)
