"""The commits of the repository that the working folder is in: their order and their dates, as git tells them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60


@dataclass(frozen=True)
class Commit:
    """One commit. order: parents have a lower number than their children; date: ISO 8601, of the commit."""

    order: int
    date: str
    subject: str


def commits(folder: Path) -> dict[str, Commit]:
    """All commits by their full hash; none where the folder is in no repository or git is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "log", "--all", "--date-order", "--reverse", "--format=%H%x09%cI%x09%s"],
            capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = (line.split("\t", 2) for line in done.stdout.splitlines()) if done.returncode == 0 else ()
    return {parts[0]: Commit(order, parts[1], parts[2]) for order, parts in enumerate(lines) if len(parts) == 3}
