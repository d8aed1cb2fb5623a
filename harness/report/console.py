"""What a run says, for the terminal: the answer, a ranking per group, failures, caveats. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from rich.console import Group as Renderables
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyse.answer import answers
from harness.analyse.caveats import caveats
from harness.analyse.cells import MEMORY, Cell
from harness.analyse.headline import Answer, ended
from harness.analyse.leads import overall
from harness.analyse.predicted import apart
from harness.analyse.quantity import between, duration, listed, rate, size, times
from harness.analyse.study import Group, Study, study
from harness.report.fitted_table import Fitted
from harness.report.learning_console import recipes
from harness.report.text import clip
from harness.run.stored import StoredRun
from harness.schema.prediction import MEASURED

PREDICTED = MEASURED[MEMORY]
ROWS_AT_MOST = 30
OPTIONAL = ("predicted", "ok", "step", "memory", "throughput", "95 %")
"""Columns that a narrow terminal does without, in this order."""
VERDICT_STYLES = {"faster": "green", "slower": "red", "undecided": "yellow"}


def run_summary(run: StoredRun) -> RenderableType:
    """The answer sentences, a table per group, failures and caveats of a run, in this order."""
    found = study(run)
    parts: list[RenderableType] = [Text(clip(text, 400)) for text in overall(found) if len(found.groups) > 1]
    for said, group in zip(answers(found), found.groups, strict=True):
        shown = recipes(group, group.learning) if group.learning else ranking(group)
        parts += [_sentence(said), shown, Text()]
    parts += [*_failures(found), *(Text(f"caveat: {clip(text, 300)}", style="yellow") for text in caveats(found))]
    return Renderables(*parts) if parts else Text("The run holds no trial.")


def _sentence(said: Answer) -> Text:
    text = Text(clip(f"For {said.group} on {said.place}: ", 200) + " ")
    for part in said.headline:
        text.append(part.text, style="bold" if part.strong else "")
    for detail in said.details:
        text.append(f"\n  {clip(detail, 300)}", style="dim")
    return text


def ranking(group: Group) -> Fitted:
    """Cells of a group, fastest first: ratio with interval, verdict, throughput, step, memory, rounds that ended OK."""
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("cell", overflow="ellipsis", no_wrap=True)
    for title in ("× baseline", "95 %"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    predicted = any(PREDICTED in cell.metrics for cell in group.order)
    for title in ("throughput", "step", "memory", *(["predicted"] if predicted else []), "ok"):
        table.add_column(title, justify="right", no_wrap=True)
    for cell in group.order[:ROWS_AT_MOST]:
        table.add_row(*_row(group, cell, predicted))
    if len(group.order) > ROWS_AT_MOST:
        table.add_row(Text(f"… {len(group.order) - ROWS_AT_MOST:,} more", style="dim"))
    return Fitted(table, OPTIONAL)


def _row(group: Group, cell: Cell, predicted: bool) -> list[Text]:
    if not cell.ok:
        style = "dim" if cell.status == "UNSUPPORTED" else "red"
        return [Text(clip(cell.label, 60), style=style), Text(), Text(), Text(ended(cell), style=style)]
    verdict, metrics = "baseline" if cell.is_baseline else cell.verdict, cell.metrics
    return [
        Text(clip(cell.label, 60)),
        Text(times(cell.speed) if cell.speed is not None else ""),
        Text(between(cell.ratio.low, cell.ratio.high) if cell.ratio else ""),
        Text(verdict, style=VERDICT_STYLES.get(verdict, "")),
        Text(rate(metrics[group.rate], group.unit) if group.rate in metrics else ""),
        Text(duration(metrics["step_s"]) if "step_s" in metrics else ""),
        Text(size(metrics[MEMORY]) if MEMORY in metrics else ""),
        *([_predicted(cell)] if predicted else []),
        Text(f"{cell.ok}/{cell.rounds}"),
    ]


def _predicted(cell: Cell) -> Text:
    """The predicted peak; marked where what was measured is another, in all or of a kind."""
    if PREDICTED not in cell.metrics:
        return Text()
    return Text(size(cell.metrics[PREDICTED]), style="yellow" if apart(cell) else "")


def _failures(found: Study) -> list[RenderableType]:
    """One line per cell and way of ending, with the reason and the command that repeats the first."""
    alike: dict[tuple[str, str], list[Mapping[Hashable, Any]]] = {}
    for trial in found.failures.to_dict("records"):
        alike.setdefault((str(trial["cell"]), str(trial["status"])), []).append(trial)
    seeded = found.trials["seed"].nunique() > 1
    lines: list[RenderableType] = [_failure(status, trials, seeded) for (_cell, status), trials in alike.items()]
    more = len(lines) - ROWS_AT_MOST
    return [*lines[:ROWS_AT_MOST], *([Text(f"… {more:,} more failures", style="dim")] if more > 0 else [])]


def _failure(status: str, trials: Sequence[Mapping[Hashable, Any]], seeded: bool) -> Text:
    first, record = trials[0], trials[0]["record"]
    rounds = listed([str(repeat + 1) for repeat in sorted({trial["repeat"] for trial in trials})])
    seeds = f", seed {listed([str(seed) for seed in sorted({trial['seed'] for trial in trials})])}" if seeded else ""
    where = f"{first['group_label']} {first['label']}, round {rounds}{seeds}:"
    text = Text(f"{status} ", style="red")
    text.append(f"{clip(where, 200)} {clip(record.reason or 'no reason was recorded', 200)}", style="default")
    text.append(f"  {clip(record.command, 120)}", style="dim default")
    return text
