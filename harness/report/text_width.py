"""How wide text in pictures is: nothing lays it out before the reader's browser does, so it is estimated.

Advances of DejaVu Sans, in ems and rounded up: the widest of the usual system fonts; what fits in it fits in others.
"""

from __future__ import annotations

from harness.report.text import clip

ADVANCES = {
    0.3: "'IJijl", 0.35: " ,./:;\\|·\u00a0", 0.4: "()-[]ft", 0.45: "!r", 0.5: '"*_`–', 0.55: "?csz", 0.6: "FLkvxy",
    0.65: "$0123456789EPSTYabdeghnopqu{}µ", 0.7: "ABCKRVXZ", 0.75: "NU", 0.8: "&DGHOQ", 0.85: "#+<=>^w~×÷±−≥→",
    0.9: "M",
}  # fmt: skip
"""Ems → characters."""
OTHER = 1.0
"""Ems of every other character."""
_ADVANCE = {character: ems for ems, characters in ADVANCES.items() for character in characters}


def width(text: str, size: float = 11.0) -> float:
    """Pixels of a text in a font of so many pixels."""
    return size * sum(_ADVANCE.get(character, OTHER) for character in text)


def fitted(text: str, pixels: float, size: float = 11.0, least: int = 5) -> str:
    """The text on one line, cut in the middle to what fits into so many pixels; empty below `least` characters."""
    length = len(text)
    while length >= least or length == len(text) > 0:
        written = clip(text, length)
        if width(written, size) <= pixels:
            return written
        length = min(length, len(written)) - 1
    return ""
