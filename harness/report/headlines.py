"""What each stored run and session said, in a few lines: from a cache, since studying hundreds anew takes minutes.

The cache, `headlines.json` in the results folder, may be deleted at any time. An entry holds as long as the files of
its run and the code that analyses them are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

import harness
from harness.analyse.ab_sessions import counted_rounds, read_about
from harness.analyse.answer import answers
from harness.analyse.gate import MEANS, Outcome
from harness.analyse.headline import Answer
from harness.analyse.quantity import count
from harness.analyse.study import study
from harness.report.run_facts import counts, machine
from harness.report.whole_file import write_whole
from harness.run.series_file import SERIES_FILES
from harness.run.store import REFERENCES_FILE, RUN_FILE, RUNS, SESSION_FILE, SESSIONS, TRIALS_FILE
from harness.run.stored import read_run
from harness.schema.errors import StoreError

CACHE = "headlines.json"
WATCHED = (RUN_FILE, TRIALS_FILE, REFERENCES_FILE, *SERIES_FILES, SESSION_FILE, "b.jsonl")
"""Files whose change makes an entry old."""


class Said(BaseModel):
    """What was said of a group (of a session: of all): a sentence in parts, with whether the eye should find each."""

    group: str
    parts: list[tuple[str, bool]]


class Entry(BaseModel):
    """A run or a session of `harness ab`. folder: from the results folder; counts: (kind, text); problem: why it cannot
    be read, empty where it can.
    """

    name: str
    folder: str
    kind: str
    question: str = ""
    started_at: str = ""
    ended_at: str = ""
    machine: list[str] = []
    counts: list[tuple[str, str]] = []
    said: list[Said] = []
    warnings: int = 0
    problem: str = ""


class _Kept(BaseModel):
    """An entry in the cache. state: of its files and of the code that made it."""

    state: str
    entry: Entry


def entries(results: Path) -> list[Entry]:
    """Everything in a results folder, newest first. Only what is new or changed is studied.

    Raises StoreError where the folder cannot be listed.
    """
    before = _cached(results)
    after: dict[str, _Kept] = {}
    for kind, read in ((RUNS, of_run), (SESSIONS, of_session)):
        for folder in _folders(results / kind):
            key, state = f"{kind}/{folder.name}", _state(folder)
            known = before.get(key)
            after[key] = (
                known if known and known.state == state else _Kept(state=state, entry=_read(folder, kind, read))
            )
    if after != before:
        text = json.dumps({key: kept.model_dump() for key, kept in after.items()}, ensure_ascii=False)
        with contextlib.suppress(StoreError):  # a results folder that may only be read has no cache
            write_whole(results / CACHE, text)
    return sorted((kept.entry for kept in after.values()), key=lambda entry: entry.started_at, reverse=True)


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"results folder {parent}: {error.strerror or error}") from error


def _cached(results: Path) -> dict[str, _Kept]:
    """The cache as far as it can be understood: one of another version, or half a file, is none."""
    try:
        content = json.loads((results / CACHE).read_bytes())
        return {str(key): _Kept.model_validate(kept) for key, kept in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _state(folder: Path) -> str:
    """Sizes and times of the files, and which code would read them."""
    parts = [_code()]
    for name in WATCHED:
        with contextlib.suppress(OSError):
            found = (folder / name).stat()
            parts.append(f"{name} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _code() -> str:
    """Hash over the source that headlines are computed by."""
    root = Path(harness.__file__).parent
    files = [*sorted((root / "analyse").glob("*.py")), root / "run" / "stored.py", Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _read(folder: Path, kind: str, read: Callable[[Path], Entry]) -> Entry:
    """The entry; of what cannot be read one that says why."""
    try:
        return read(folder)
    except (StoreError, OSError, ValueError, KeyError, TypeError) as error:
        told = str(error) if isinstance(error, StoreError) else f"cannot be read: {type(error).__name__}: {error}"
        return Entry(
            name=folder.name, folder=f"{kind}/{folder.name}", kind=kind, started_at=_made(folder), problem=told
        )


def _made(folder: Path) -> str:
    """When a folder was made, by its name, else by the file system."""
    with contextlib.suppress(ValueError):
        return datetime.strptime(folder.name.split("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).isoformat()
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat()


def of_run(folder: Path) -> Entry:
    """The entry of a run folder, studied anew. Raises StoreError where it cannot be read."""
    run = read_run(folder)
    found = study(run)
    unfinished = [] if run.info.ended_at else [("bad", "cut off, or still running")]
    return Entry(
        name=folder.name,
        folder=f"{RUNS}/{folder.name}",
        kind=RUNS,
        question=run.info.question,
        started_at=run.info.started_at,
        ended_at=run.info.ended_at or "",
        machine=machine(run.info.environment),
        counts=[*counts(found), *unfinished],
        said=[_said(each) for each in answers(found)],
        warnings=len(run.warnings),
    )


def _said(answer: Answer) -> Said:
    return Said(group=answer.group, parts=[(part.text, part.strong) for part in answer.opening])


def of_session(folder: Path) -> Entry:
    """The entry of a session of `harness ab`, whole or cut off. Raises StoreError where its ab.json cannot be read."""
    about = read_about(folder)
    outcome = about.outcome
    means = MEANS[outcome] if outcome is not None else "it was interrupted: there is no verdict"
    word = outcome.name.lower().replace("_", " ") if outcome is not None else "no verdict"
    counted = [("ok" if outcome is Outcome.PASSED else "bad", word)]
    if rounds := counted_rounds(folder):
        counted.append(("off", f"{count(sum(rounds.values()), 'round')} of {count(len(rounds), 'cell')}"))
    return Entry(
        name=folder.name,
        folder=f"{SESSIONS}/{folder.name}",
        kind=SESSIONS,
        question=about.question,
        started_at=about.started_at or _made(folder),
        ended_at=about.ended_at,
        machine=machine(about.environment),
        counts=counted,
        said=[Said(group="", parts=[(means[0].upper() + means[1:], True), (".", False)])],
    )
