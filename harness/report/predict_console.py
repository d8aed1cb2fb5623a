"""Predicted memory for the terminal and for other programs: a row per cell. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group as Renderables
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyse.quantity import digits, size
from harness.report.fitted_table import Fitted
from harness.report.text import clip
from harness.run.imagined import Imagined
from harness.schema.memory_size import memory_text
from harness.schema.prediction import KINDS, Prediction

HEADS = dict(zip(KINDS, ("parameters", "gradients", "optimizer", "activations", "other"), strict=True))
OPTIONAL = ("other", "batch", "gradients", "optimizer", "parameters", "activations")
"""Columns that a narrow terminal does without, in this order."""
TIGHT = 0.9
"""Share of the memory from which a prediction is no promise: libraries and pieces between blocks take some too."""
Predicted = tuple[Imagined, Prediction | None]
"""A cell, and what is predicted of it; None: it cannot be."""


def rows(found: Sequence[Predicted], limit_bytes: int | None) -> list[dict[str, Any]]:
    """For programs: bytes by kind, the total and whether it fits, or the reason why nothing is predicted."""
    return [_row(cell, prediction, limit_bytes) for cell, prediction in found]


def _row(cell: Imagined, prediction: Prediction | None, limit_bytes: int | None) -> dict[str, Any]:
    trial = cell.trial
    row: dict[str, Any] = {
        "cell": trial.label,
        "devices": trial.devices,
        "global_batch": trial.global_batch,
        "micro_batch": prediction.micro_batch if prediction else None,
        "rebatched": cell.rebatched,
    }
    if prediction is None or not prediction.sizes:
        return row | {"reason": cell.reason or (prediction.absent if prediction else "")}
    row |= {"bytes": prediction.sizes, "total_bytes": prediction.total}
    return row | ({} if limit_bytes is None else {"limit_bytes": limit_bytes, "fits": prediction.total <= limit_bytes})


def shown(found: Sequence[Predicted], limit_bytes: int | None) -> RenderableType:
    """For people: a table of bytes by kind per device, then the cells without a prediction, with the reason."""
    known = [(cell, prediction) for cell, prediction in found if prediction is not None and prediction.sizes]
    parts: list[RenderableType] = [_table(known, limit_bytes)] if known else []
    changed = [cell.trial.label for cell, _prediction in known if cell.rebatched]
    if changed:
        parts.append(Text("* The suite's batch does not divide so: one micro-batch on each device.", style="dim"))
    for cell, prediction in found:
        why = cell.reason or (prediction.absent if prediction else None)
        if why:
            text = Text(f"{clip(cell.trial.label, 60)}: ", style="dim")
            parts.append(text.append(clip(why, 200), style="default"))
    return Renderables(*parts)


def _table(known: Sequence[tuple[Imagined, Prediction]], limit_bytes: int | None) -> Fitted:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("cell", overflow="ellipsis", no_wrap=True)
    for title in ("devices", "batch", *HEADS.values(), "total"):
        table.add_column(title, justify="right", no_wrap=True)
    if limit_bytes is not None:
        table.add_column(f"fits in {memory_text(limit_bytes)}", justify="right", no_wrap=True)
    for cell, prediction in known:
        trial = cell.trial
        batch = f"{prediction.micro_batch} of {trial.global_batch}{'*' if cell.rebatched else ''}"
        kinds = (Text(size(prediction.sizes[kind])) for kind in HEADS)
        total = Text(size(prediction.total), style="bold")
        fits = [] if limit_bytes is None else [_fits(prediction.total, limit_bytes)]
        table.add_row(Text(clip(trial.label, 60)), Text(str(trial.devices)), Text(batch), *kinds, total, *fits)
    return Fitted(table, OPTIONAL)


def _fits(total: int, limit_bytes: int) -> Text:
    share = total / limit_bytes
    word, style = ("no", "red") if share > 1 else ("tight", "yellow") if share > TIGHT else ("yes", "green")
    return Text(f"{word}, {digits(100 * share)} %", style=style)
