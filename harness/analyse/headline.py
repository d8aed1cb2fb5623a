"""An answer in parts, so that page and terminal can make its figures and names stand out; and endings in words."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analyse.cells import Cell

ENDING = {
    "OOM": "out of memory",
    "TIMEOUT": "timed out",
    "DIVERGED": "loss not finite",
    "UNSUPPORTED": "not supported here",
    "NOT_APPLIED": "not applied as asked",
    "PARITY_FAILED": "parity failed",
    "CRASHED": "crashed",
    "INTERRUPTED": "interrupted",
}
OPENINGS = ("no", "nothing", "only", "undecided", "reached", "did", "the", "strong", "weak", "compiling", "against")
"""Words a headline may begin with other than a cell's name."""


def ended(cell: Cell) -> str:
    """How a cell ended, in words."""
    return ENDING.get(cell.status, cell.status)


@dataclass(frozen=True)
class Part:
    """A piece of a sentence; strong: the figure or name that the eye should find."""

    text: str
    strong: bool = False


Parts = tuple[Part, ...]


def capitalised(headline: Parts) -> Parts:
    """With a capital, unless it begins with a cell's name."""
    first = headline[0]
    if first.text.split(" ", 1)[0].rstrip(":,") not in OPENINGS:
        return headline
    return (Part(first.text[0].upper() + first.text[1:], first.strong), *headline[1:])


def sentence(headline: Parts) -> str:
    """The headline as plain text, with a capital."""
    return "".join(part.text for part in capitalised(headline))


@dataclass(frozen=True)
class Answer:
    """What a group says. headline: one sentence in parts; details: further sentences; settled: by a verdict."""

    group: str
    place: str
    headline: Parts
    details: tuple[str, ...]
    settled: bool

    @property
    def opening(self) -> Parts:
        """The headline as a sentence that stands alone: with a capital, unless it begins with a cell's name."""
        return capitalised(self.headline)

    @property
    def text(self) -> str:
        """The headline with its group in front, as plain text."""
        return f"For {self.group} on {self.place}: {''.join(part.text for part in self.headline)}"
