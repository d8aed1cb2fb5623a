"""What a version is: a git ref in a worktree of its own, a folder, or a python executable; made ready, taken away."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import harness
from harness.schema.errors import HarnessError, InputError, Problem
from harness.schema.trial import Plugin

OWN_TREE = Path(harness.__file__).parents[1]
DECIDING = ("pyproject.toml", "constraints.txt")
"""Files that say what a version needs installed."""
PIP_TIMEOUT_S = 3600
LAST_WORDS = 600


@dataclass(frozen=True)
class Version:
    """One side, ready to be run. root: its files, None for an executable; path: PYTHONPATH of its processes; dirty:
    the files differ from those of the commit.
    """

    spec: str
    kind: Literal["git ref", "folder", "python"]
    python: str
    path: str
    root: Path | None = None
    commit: str | None = None
    dirty: bool = False

    def plugin(self, given: Path) -> Plugin:
        """A plug-in as this version has it: its own file where there is one of that path, else the one given.

        It is not loaded here: the other version's file registers the same names.
        """
        own = self._own(given)
        return Plugin(path=str(own), sha256=hashlib.sha256(own.read_bytes()).hexdigest())

    def _own(self, given: Path) -> Path:
        if self.root is None:
            return given.resolve()
        here = _top(Path.cwd()) or Path.cwd()
        with contextlib.suppress(ValueError):
            own = self.root / given.resolve().relative_to(here.resolve())
            if own.is_file():
                return own.resolve()
        return given.resolve()


@contextlib.contextmanager
def made_ready(spec: str, option: str) -> Iterator[Version]:
    """A version from what was typed; a git ref's worktree and environment are removed at the end.

    A folder wins over a ref of the same name. Raises InputError where it is neither ref, folder nor executable.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        root = path.resolve()
        commit = _commit(root, "HEAD")
        yield Version(spec, "folder", sys.executable, _joined(root), root, commit, commit is not None and _dirty(root))
    elif path.is_file() and os.access(path, os.X_OK):
        yield Version(spec, "python", str(path.absolute()), _path_for(path.absolute()))
    elif commit := _commit(Path.cwd(), spec):
        with _worktree(commit) as folder:
            yield _of_commit(spec, commit, folder)
    else:
        tried = "no such folder, no executable file, and "
        tried += (
            f"no commit of the repository {top}" if (top := _top(Path.cwd())) else "the working folder is in no git"
        )
        expected = f"a git ref, a folder or a python executable ({tried})"
        raise InputError([Problem(option, "", spec, expected)])


def _of_commit(spec: str, commit: str, folder: Path) -> Version:
    root = folder / "tree"
    ours = _top(Path.cwd()) or OWN_TREE
    if needs(root) == needs(ours) or not (root / DECIDING[0]).exists():
        return Version(spec, "git ref", sys.executable, _joined(root), root, commit)
    return Version(spec, "git ref", _installed(spec, root, folder / "venv"), str(root), root, commit)


def needs(root: Path) -> tuple[object, ...]:
    """What a tree needs installed: its dependencies and constraints; nothing where it has no such files."""
    project, constraints = (root / name for name in DECIDING)
    table = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}) if project.exists() else {}
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.exists() else []
    pinned = sorted(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return (sorted(table.get("dependencies", [])), str(table.get("requires-python")), pinned)


def _installed(spec: str, root: Path, folder: Path) -> str:
    """An environment of the version's own; returns its python. Raises HarnessError with pip's last words."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    constrained = ["-c", str(root / DECIDING[1])] if (root / DECIDING[1]).exists() else []
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *constrained, str(root)]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-LAST_WORDS:]
            raise HarnessError(
                f"{spec} needs other packages than this environment has ({' or '.join(DECIDING)} differ), and they "
                f"cannot be installed here: {said}. Where there is no network, make an environment with them and give "
                "its python executable instead"
            )
    return str(python)


@contextlib.contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """A temporary folder whose `tree` is the commit, detached. Nothing of it is left, in the repository neither."""
    folder = Path(tempfile.mkdtemp(prefix="dynamometer-ab-"))
    try:
        done = _git(Path.cwd(), "worktree", "add", "--quiet", "--detach", str(folder / "tree"), commit)
        if done.returncode:
            raise HarnessError(f"git cannot check out {commit}: {' '.join(done.stderr.split())[-LAST_WORDS:]}")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(Path.cwd(), "worktree", "prune")


def _joined(root: Path) -> str:
    """A tree first, then this harness, for a tree that has none of its own."""
    inside = [str(root / "src")] if (root / "src").is_dir() else []
    return os.pathsep.join([str(root), *inside, str(OWN_TREE), *filter(None, [os.environ.get("PYTHONPATH")])])


def _path_for(python: Path) -> str:
    """PYTHONPATH for an executable: none where it has a harness of its own, else this one."""
    has = [str(python), "-P", "-c", "import harness.schema"]
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(has, env=without, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"{python} is no python that starts: {error}") from error
    return "" if done.returncode == 0 else str(OWN_TREE)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(arguments, 127, "", str(error))


def _commit(folder: Path, ref: str) -> str | None:
    done = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return done.stdout.strip() if done.returncode == 0 else None


def _dirty(folder: Path) -> bool:
    return bool(_git(folder, "status", "--porcelain", "--untracked-files=no").stdout.strip())


def _top(folder: Path) -> Path | None:
    done = _git(folder, "rev-parse", "--show-toplevel")
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def plugins_of(version: Version, given: Sequence[Path]) -> tuple[Plugin, ...]:
    """All plug-ins as a version has them."""
    return tuple(version.plugin(path) for path in given)
