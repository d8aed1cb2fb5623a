"""What a section of the page that only some runs have is made of."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.figures import Figure
from harness.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A section. link: its name in the page's bar; says: sentences above its figures and its table; more: tables that
    are opened on demand; explains: it says why the groups' figures are what they are, and stands below them.
    """

    id: str
    title: str
    link: str
    says: list[str]
    figures: list[Figure]
    table: Table
    more: tuple[Table, ...] = ()
    explains: bool = False
