"""Text from outside made harmless to look at: what cannot be seen or would turn the line around is shown as such."""

from __future__ import annotations

import unicodedata

from markupsafe import Markup

HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories without a picture of their own: controls, bidi and zero-width marks, lone surrogates, …"""
STAYS = frozenset("\n\t")


def visible(text: str) -> str:
    r"""The text with its hidden characters escaped: `\x1b` for ESC, `\u202e` for the right-to-left override."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if char not in STAYS and unicodedata.category(char) in HIDDEN else char
        for char in text
    )


def finalize(value: object) -> object:
    """What jinja2 puts in for an expression: text is made visible, our own markup and numbers stay as they are."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def clip(text: str, length: int) -> str:
    """The text on one line, cut in the middle where it is longer."""
    line = " ".join(visible(text).split())
    if len(line) <= length:
        return line
    head = (length - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (length - 1 - head) :]}"


def short(text: str, length: int) -> str:
    """The text as it is, clipped to one line only where it is longer."""
    return text if len(text) <= length else clip(text, length)


def tail(text: str, length: int = 4000) -> str:
    """The end of a long text, with what was left out said in its first line."""
    if len(text) <= length:
        return text
    return f"… {len(text) - length:,} characters left out …\n{text[-length:]}"
