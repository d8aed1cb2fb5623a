"""How families of recipes look: a hue, dashes and a symbol for each that is drawn, the baseline's among them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analyse.families import Family, Rung
from harness.analyse.learned_answer import named
from harness.analyse.learning import Learning
from harness.report.look import HUES, SHAPES

FAMILIES_AT_MOST = HUES
"""Families that are drawn: more cannot be told apart. The table holds all."""
DASHES = ([1, 0], [6, 3])
SYMBOLS = tuple(SHAPES.values())


@dataclass(frozen=True)
class Drawn:
    """A family that is drawn, with how it looks. name: with its best rate."""

    family: Family
    name: str
    number: int

    @property
    def colour(self) -> str:
        """Its hue."""
        return f"var(--s{self.number})"

    @property
    def dash(self) -> list[int]:
        """Solid for the first four, dashed for the others: neighbours on a chart differ by more than a hue."""
        return DASHES[self.number * len(DASHES) // FAMILIES_AT_MOST]

    @property
    def symbol(self) -> str:
        """Its symbol."""
        return SYMBOLS[self.number % len(SYMBOLS)]

    @property
    def best(self) -> Rung:
        """Its best rung: only families that have one are drawn."""
        assert self.family.best is not None
        return self.family.best

    @property
    def cell(self) -> str:
        """The hash of its best rung's cell, for the page's filter."""
        return self.best.cell.cell


def drawn(found: Learning) -> list[Drawn]:
    """The best families, the baseline's among them, in the order of the learning; hues by name, so that they stay."""
    shown = found.known[:FAMILIES_AT_MOST]
    base = found.baseline
    if base is not None and base.best is not None and base not in shown:
        shown[-1] = base
    hues = {family.label: at for at, family in enumerate(sorted(shown, key=lambda family: family.label))}
    return [Drawn(family, named(found, family), hues[family.label]) for family in shown]


def left_out(found: Learning) -> str:
    """How many families there are beside those drawn, for a caption; empty where all are."""
    more = len(found.known) - FAMILIES_AT_MOST
    return f" {FAMILIES_AT_MOST} of {len(found.known)} recipes; the table holds all." if more > 0 else ""
