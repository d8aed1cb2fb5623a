"""Energy of CPU packages from a powercap folder made by hand: turns of the counter, what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.machine.deadline import Unread
from harness.machine.rapl import Rapl, package_folders, turned

RANGE_UJ = 262_143_328_850


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    """A powercap domain; returns its counter."""
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path / "energy_uj"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two packages, and all that must not be counted a second time."""
    domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    domain(tmp_path, "intel-rapl:1", "package-1", RANGE_UJ - 500_000)
    domain(tmp_path, "intel-rapl:2", "psys", 5_000_000)
    domain(tmp_path, "intel-rapl:0:0", "core", 700_000)
    domain(tmp_path, "intel-rapl:0:1", "dram", 100_000)
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def count(root: Path, folder: str, energy_uj: int) -> None:
    """Let a counter stand at so many µJ."""
    (root / folder / "energy_uj").write_text(str(energy_uj))


def test_packages_alone_are_counted_each_once(root: Path) -> None:
    assert [folder.name for folder in package_folders(root)] == ["intel-rapl:0", "intel-rapl:1"]
    rapl = Rapl(root)
    rapl.start()
    for other in ("intel-rapl:2", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl-mmio:0"):
        count(root, other, 90_000_000)
    assert rapl.total_j() == 0.0, "control: no package moved"
    count(root, "intel-rapl:0", 3_000_000)
    assert rapl.total_j() == pytest.approx(2.0)


def test_a_counter_that_starts_again_goes_on(root: Path) -> None:
    rapl = Rapl(root)
    rapl.start()
    count(root, "intel-rapl:1", 250_000)
    assert rapl.total_j() == pytest.approx(0.75)
    count(root, "intel-rapl:1", RANGE_UJ - 1_000_000)
    rapl.total_j()
    count(root, "intel-rapl:1", 1_000_000)
    assert rapl.total_j() == pytest.approx(0.5 + (RANGE_UJ + 1_000_000) * 1e-6), "read between two turns: both count"
    rapl.start()
    assert rapl.total_j() == 0.0


def test_a_turn_is_no_negative_energy() -> None:
    assert turned(10, 30, 100) == 20
    assert turned(90, 10, 100) == 20
    assert turned(5, 5, 100) == 0


def test_a_machine_without_counters_says_why(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Unread, match=r"there is no .*nowhere"):
        Rapl(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Unread, match="no package domain"):
        Rapl(empty)
    (root / "intel-rapl:0" / "energy_uj").write_text("")
    with pytest.raises(Unread, match="cannot be read"):
        Rapl(root)


def test_a_counter_for_root_only_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid():
        (root / "intel-rapl:0" / "energy_uj").chmod(0)
    else:  # root may read everything: let the system refuse as it refuses others
        allowed = Path.read_text

        def refused(path: Path) -> str:
            if path.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return allowed(path)

        monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(Unread, match="may be read by root only"):
        Rapl(root)


def test_a_counter_that_vanishes_while_metered_is_said(root: Path) -> None:
    rapl = Rapl(root)
    rapl.start()
    (root / "intel-rapl:1" / "energy_uj").unlink()
    with pytest.raises(Unread, match="cannot be read"):
        rapl.total_j()
