"""Numbers as people read them: `1.62×`, `18.4 ms`, `226 MiB`, `12.3 k tokens/s`. Three significant digits.

A no-break space stands between number and unit, so that no line of text ends between them; below 0 a minus sign stands,
not a hyphen.
"""

from __future__ import annotations

import math

SPACE = "\u00a0"
ABSENT = "–"


def digits(value: float, significant: int = 3) -> str:
    """A number with so many significant digits, never in powers of ten: `0.0123`, `1.62`, `226`, `12,300`, `−0.19`."""
    if value < 0:
        return f"−{digits(-value, significant)}" if math.isfinite(value) else ABSENT
    if not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value))
    if not -7 < exponent < 15:
        return f"{value:.{significant - 1}e}"
    rounded = round(value, significant - 1 - exponent)
    if rounded >= 10.0 ** (exponent + 1):  # 9.996 became 10.0
        exponent += 1
    return f"{rounded:,.{max(0, significant - 1 - exponent)}f}"


def times(ratio: float) -> str:
    """A ratio: `1.62×`, `0.98×`."""
    return f"{digits(max(ratio, 1.0)) if ratio >= 0.995 else digits(ratio, 2 if ratio >= 0.1 else 1)}×"


def between(low: float | None, high: float | None) -> str:
    """An interval of ratios: `[1.55, 1.70]`; nothing where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{times(low)[:-1]}, {times(high)[:-1]}]"


def duration(seconds: float) -> str:
    """Seconds in the unit that keeps the number readable: `850 µs`, `18.4 ms`, `1.24 s`, `4 min 12 s`, `2 h 05 min`."""
    if not math.isfinite(seconds):
        return ABSENT
    if abs(seconds) >= 3600:
        return f"{int(seconds // 3600)}{SPACE}h{SPACE}{int(seconds % 3600 // 60):02d}{SPACE}min"
    if abs(seconds) >= 120:
        return f"{int(seconds // 60)}{SPACE}min{SPACE}{int(seconds % 60):02d}{SPACE}s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= scale:
            return f"{digits(seconds / scale)}{SPACE}{unit}"
    return f"{digits(seconds / 1e-9)}{SPACE}ns" if seconds else f"0{SPACE}s"


def size(number: float) -> str:
    """Bytes in binary units: `226 MiB`."""
    if not math.isfinite(number):
        return ABSENT
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(number) >= scale:
            return f"{digits(number / scale)}{SPACE}{unit}"
    return f"{digits(number)}{SPACE}B"


def rate(per_second: float, unit: str) -> str:
    """Units of work per second: `12.3 k tokens/s`."""
    if not math.isfinite(per_second):
        return ABSENT
    unit = unit.replace("_", " ")
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(per_second) >= 10 * scale or (prefix != "k" and abs(per_second) >= scale):
            return f"{digits(per_second / scale)}{SPACE}{prefix}{SPACE}{unit}s/s"
    return f"{digits(per_second, 4 if per_second >= 1000 else 3)}{SPACE}{unit}s/s"


def percent(share: float) -> str:
    """A share of one as per cent with two significant digits: `2.1 %`."""
    return f"{digits(100 * share, 2)}{SPACE}%" if math.isfinite(share) else ABSENT


def count(number: int, word: str, plural: str | None = None) -> str:
    """A counted thing: `1 round`, `3 rounds`."""
    return f"{number:,}{SPACE}{word if number == 1 else plural or f'{word}s'}"


def listed(texts: list[str], most: int = 6) -> str:
    """Texts as an enumeration, cut off with how many more there are: `a, b and c`, `a, b and 7 more`."""
    if len(texts) > most:
        return f"{', '.join(texts[: most - 1])} and {len(texts) - most + 1} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
