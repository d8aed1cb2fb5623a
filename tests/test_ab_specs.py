"""What `harness ab` compares: refs, folders and executables, and one clear error for everything else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.run.ab.server import Server
from harness.run.ab.specs import OWN_TREE, made_ready, needs
from harness.schema.errors import HarnessError, InputError
from tests.ab_repository import git

PROJECT = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{}]\n'


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits: the first needs nothing, the second a package that nobody has. The working tree needs nothing."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number, dependencies in enumerate(("", '"no-such-package-of-this-test>=2"')):
        (folder / "pyproject.toml").write_text(PROJECT.format(dependencies))
        (folder / "model.py").write_text(f"version = {number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "a commit")
        git(folder, "tag", f"v{number}")
    (folder / "pyproject.toml").write_text(PROJECT.format(""))
    monkeypatch.chdir(folder)
    return folder


def worktrees(folder: Path) -> int:
    return len(git(folder, "worktree", "list").splitlines())


def test_a_ref_is_checked_out_beside_and_taken_away_again(repository: Path) -> None:
    with made_ready("v0", "--a") as version:
        assert (version.kind, version.python) == ("git ref", sys.executable)
        assert version.commit == git(repository, "rev-parse", "v0")
        assert version.root is not None
        assert (version.root / "model.py").read_text() == "version = 0\n"
        assert version.path.split(os.pathsep)[0] == str(version.root)
        assert version.plugin(Path("model.py")).path == str(version.root.resolve() / "model.py")
        assert version.plugin(Path(__file__)).path == __file__, "a plug-in from outside is the same on both sides"
        assert worktrees(repository) == 2
    assert not version.root.exists()
    assert worktrees(repository) == 1


def test_a_ref_is_taken_away_when_all_goes_wrong(repository: Path) -> None:
    with pytest.raises(KeyboardInterrupt), made_ready("v0", "--a"):
        raise KeyboardInterrupt
    assert worktrees(repository) == 1


def test_other_dependencies_need_an_environment_of_their_own(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(HarnessError, match=r"v1 needs other packages .* cannot be installed here") as caught:
        with made_ready("v1", "--b"):
            pytest.fail("it was made without what it needs")
    assert "give its python executable instead" in str(caught.value)
    assert worktrees(repository) == 1


def test_what_a_tree_needs(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "pyproject.toml").write_text(PROJECT.format('"b", "a"'))
        (folder / "constraints.txt").write_text("# by hand\na==1\nb==2\n")
    (other / "constraints.txt").write_text("b==2\n\na==1\n")
    assert needs(one) == needs(other), "order and comments are no difference"
    (other / "constraints.txt").write_text("a==1\nb==3\n")
    assert needs(one) != needs(other)


def test_a_folder_and_an_executable(repository: Path, tmp_path: Path) -> None:
    with made_ready(str(repository), "--a") as version:
        assert (version.kind, version.root) == ("folder", repository.resolve())
    with made_ready(sys.executable, "--b") as version:
        assert (version.kind, version.root) == ("python", None)
        assert version.path in ("", str(OWN_TREE))
    assert worktrees(repository) == 1


def test_anything_else_is_one_clear_error(repository: Path) -> None:
    with pytest.raises(InputError) as caught, made_ready("v7", "--a"):
        pytest.fail("there is no such version")
    said = str(caught.value)
    assert said.startswith("--a: found 'v7', expected a git ref, a folder or a python executable")
    assert "no such folder, no executable file" in said
    assert str(repository) in said


def test_a_version_without_turns_says_that_it_is_too_old(tmp_path: Path) -> None:
    for name in ("harness", "harness/measure"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    with made_ready(str(tmp_path), "--a") as version:
        with (
            Server(version, tmp_path / "log") as server,
            pytest.raises(HarnessError, match="is older than `harness ab`"),
        ):
            server.greet()


def test_a_version_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise ValueError('planted')")
    with made_ready(str(tmp_path), "--a") as version:
        with Server(version, tmp_path / "log") as server:
            with pytest.raises(HarnessError, match="ended with code 1: ValueError: planted"):
                server.greet()


def test_fewer_rounds_than_could_ever_show_anything_are_refused(repository: Path) -> None:
    done = CliRunner().invoke(app, ["ab", "--a", "v0", "--b", "v0", "suite.toml", "--rounds", "5"])
    assert done.exit_code == 2
    assert "greater than or equal to 6" in done.output or "x>=6" in done.output
