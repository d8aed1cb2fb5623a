"""What this machine can tell apart, for the terminal and for other programs. Prints nothing itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from harness.analyse.noise import ROUNDS, Noise, effort, words
from harness.report.listing import table
from harness.report.text import clip


def shown(found: Noise) -> RenderableType:
    """The sentences, rounds and time for each effect, what would improve it, what was seen."""
    first, *rest = words(found)
    parts: list[RenderableType] = [Text(first, style="bold"), *map(Text, rest)]
    if found.clocks:
        parts += [Text(), table(effort(found))]
    parts += [Text(), *_advice(found)]
    seen = [{"what": what, "seen": clip(text, 120)} for what, text in found.seen.items()]
    parts += [Text(), table(seen)]
    if found.untold:
        parts.append(Text(f" not told by this system: {', '.join(found.untold)}", style="dim"))
    return Group(*parts)


def _advice(found: Noise) -> list[Text]:
    if not found.advice:
        return [Text("Nothing was seen that would make it better.", style="green")]
    return [Text("What would make it better:", style="bold"), *(Text(f"• {text}") for text in found.advice)]


def as_json(found: Noise) -> dict[str, Any]:
    """The same for programs: standard deviations and effects as shares of one, times in seconds."""
    clocks = [
        asdict(each) | {"needed": {f"{effect:g}": n for effect, n in each.needed.items()}} for each in found.clocks
    ]
    return asdict(found) | {"clocks": clocks, "detectable_with_rounds": ROUNDS, "words": words(found)}
