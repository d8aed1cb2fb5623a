"""Recipes of a group for the terminal: each at its best learning rate, best first, with when it reached the target."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from harness.analyse.families import Family, seeds_text
from harness.analyse.headline import ended
from harness.analyse.learned_answer import interval_text, named
from harness.analyse.learning import STATE, Learning
from harness.analyse.quantity import digits, duration, size
from harness.analyse.study import Group
from harness.analyse.target import seconds_text, steps_text
from harness.report.fitted_table import Fitted
from harness.report.text import clip

ROWS_AT_MOST = 30
OPTIONAL = ("state", "step", "seeds", "", "to target", "95 %")
"""Columns that a narrow terminal does without, in this order."""
VERDICT_STYLES = {"better": "green", "worse": "red", "undecided": "yellow"}


def recipes(group: Group, found: Learning) -> Fitted:
    """Held-out value with its interval, verdict against the baseline, steps and seconds to the target, seeds, state."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("recipe" if found.kind == "recipes" else group.label, overflow="ellipsis", no_wrap=True)
    for title in (clip(found.name, 20), "95 %"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for title in ("to target", "", "step", "state", "seeds"):
        table.add_column(title, justify="right", no_wrap=True)
    for family in found.families[:ROWS_AT_MOST]:
        table.add_row(*_row(found, family))
    if len(found.families) > ROWS_AT_MOST:
        table.add_row(Text(f"… {len(found.families) - ROWS_AT_MOST:,} more", style="dim"))
    return Fitted(table, OPTIONAL)


def _row(found: Learning, family: Family) -> list[Text]:
    rung = family.best
    if rung is None:
        cell = family.rungs[0].cell
        style = "dim" if cell.status == "UNSUPPORTED" else "red"
        return [Text(clip(family.label, 60), style=style), Text(), Text(), Text(ended(cell), style=style)]
    pair, metrics, at = found.against.get(family.label), rung.cell.metrics, rung.reach
    verdict = ("baseline" if family.is_baseline else pair.verdict if pair else "") if found.kind == "recipes" else ""
    return [
        Text(clip(f"{named(found, family)}{' (edge)' if family.edge else ''}", 60)),
        Text(digits(rung.mean, 4)),
        Text(interval_text(list(rung.finals.values()), found.higher)),
        Text(verdict, style=VERDICT_STYLES.get(verdict, "")),
        Text(f"{steps_text(at)} steps" if at else ""),
        Text(seconds_text(at) if at else ""),
        Text(duration(metrics["step_s"]) if "step_s" in metrics else ""),
        Text(size(metrics[STATE]) if STATE in metrics else ""),
        Text(seeds_text(rung)),
    ]
