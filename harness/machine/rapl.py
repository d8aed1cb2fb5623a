"""Energy of the CPU's packages, counted by the processor (RAPL) and told by Linux's powercap, where it may be read.

Source: https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.machine.deadline import Unread

ROOT = Path("/sys/class/powercap")


@dataclass
class Package:
    """One package's counter. range_uj: where it starts again at 0; last_uj: when it was read last."""

    name: str
    counter: Path
    range_uj: int
    last_uj: int


class Rapl:
    """Counters of all packages of the machine: cores, caches and what else is in the package, memory modules not.

    All that runs on the machine is in them, so that one process reads them for all. They are read and started anew
    (`start`), then read as often as wanted (`total_j`), at least once before a counter has gone round: 262 kJ on most
    machines, 20 minutes at 200 W. Raises Unread where there are none or they may not be read.
    """

    def __init__(self, root: Path = ROOT):
        self.packages = [_opened(folder) for folder in package_folders(root)]
        self._total_uj = 0

    def start(self) -> None:
        """Forget what was counted until now."""
        for package in self.packages:
            package.last_uj = _counted(package.counter)
        self._total_uj = 0

    def total_j(self) -> float:
        """Joules since `start`, all packages together."""
        for package in self.packages:
            now = _counted(package.counter)
            self._total_uj += turned(package.last_uj, now, package.range_uj)
            package.last_uj = now
        return self._total_uj * 1e-6


def turned(before_uj: int, after_uj: int, range_uj: int) -> int:
    """Microjoules between two readings of a counter that starts again at 0 after `range_uj`, at most once between."""
    return after_uj - before_uj if after_uj >= before_uj else after_uj - before_uj + range_uj


def package_folders(root: Path = ROOT) -> Sequence[Path]:
    """Folders of the domains that are whole packages. Raises Unread.

    Left out: `psys`, which holds the packages already, their parts (`intel-rapl:0:0`: cores, memory), and
    `intel-rapl-mmio`, which is the same counter read another way. AMD's processors are under `intel-rapl` too.
    """
    if not root.is_dir():
        raise Unread(f"RAPL: there is no {root} (no Linux with powercap, or a virtual machine)")
    found = [folder for folder in sorted(root.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    packages = [folder for folder in found if _name(folder).startswith("package-")]
    if not packages:
        raise Unread(f"RAPL: {root} has no package domain (no driver for this processor, or a container without it)")
    return packages


def _opened(folder: Path) -> Package:
    counter = folder / "energy_uj"
    try:
        limit = int((folder / "max_energy_range_uj").read_text())
    except (OSError, ValueError) as error:
        raise Unread(f"RAPL: {folder / 'max_energy_range_uj'} cannot be read ({error})") from error
    return Package(_name(folder), counter, limit, _counted(counter))


def _counted(counter: Path) -> int:
    try:
        return int(counter.read_text())
    except PermissionError as error:
        raise Unread(f"RAPL: {counter} may be read by root only (Linux 5.10 and later)") from error
    except (OSError, ValueError) as error:
        raise Unread(f"RAPL: {counter} cannot be read ({error})") from error


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""
