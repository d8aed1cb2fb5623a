"""The line about what runs now: how far it is, how fast, its loss as a curve, and the time left. Prints nothing itself.

It is drawn anew twice a second by a process that must not take time from what is measured, so it is plain text made in
some ten microseconds. What does not fit the width is left out, the least needed first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from harness.analyse.quantity import SPACE, digits, rate
from harness.measure.progress import Loss, Told
from harness.report.text import clip
from harness.schema.record import Phase
from harness.schema.trial import Trial

BARS = "▁▂▃▄▅▆▇█"
CURVE_CELLS = 16
GAP = "  "
NAME_CELLS = 24
"""What runs is not cut below that for its speed and its loss, and only then for how far it is."""
DOING = {
    Phase.START: "starting",
    Phase.BUILD: "building",
    Phase.WARMUP: "warm-up",
    Phase.TIMED: "timed",
    Phase.EXTRA: "after the clock",
}


def running_line(
    width: int, done: int, total: int, trial: Trial, told: Told | None, elapsed_s: float, left_s: float | None
) -> str:
    """One line of at most that many cells. done: which trial of the plan it is; elapsed_s: since the run began."""
    name = {"reference": f"reference {trial.workload.label}/{trial.size}", "fit": f"try {trial.label}"}.get(trial.kind)
    begins = [f"{done}/{total}", name or f"{trial.label} round {trial.repeat + 1}"]
    clock = [clock_text(elapsed_s)] + ([f"about {clock_text(left_s)} left"] if left_s is not None else [])
    losses = told.losses if told is not None else ()
    loss, curve = (f"loss {digits(losses[-1][1])}", sparkline(losses)) if losses else ("", "")
    what, steps, speed, time_ = clip(" ".join(begins), 90), _steps(told), _rate(told, trial), ", ".join(clock)
    wide = [[steps, speed, f"{loss} {curve}".strip(), time_], [steps, speed, loss, time_], [steps, speed, time_]]
    return fitted(what, [(parts, NAME_CELLS) for parts in wide] + [([steps, time_], 12), ([time_], 0)], width)


def fitted(what: str, choices: Sequence[tuple[Sequence[str], int]], width: int) -> str:
    """`what`, and after it the first of these that leaves it so many cells; what is longer than its room is cut."""
    length = cell_len(what)
    for parts, least in choices:
        end = GAP.join(part for part in parts if part)
        room = width - len(GAP) - cell_len(end)
        if room >= max(1, min(length, least)):
            return f"{what if length <= room else set_cell_size(what, room - 1) + '…'}{GAP}{end}"
    end = choices[-1][0][-1]
    return end if cell_len(end) <= width else set_cell_size(end, width)


def _steps(told: Told | None) -> str:
    if told is None:
        return DOING[Phase.START]
    if told.phase is Phase.TIMED:
        return f"step {max(0, told.steps - told.first)} of {told.window}"
    doing = DOING.get(told.phase, told.phase.value)
    return f"{doing} {told.steps}" if told.phase is Phase.WARMUP else doing


def _rate(told: Told | None, trial: Trial) -> str:
    if told is None or not math.isfinite(told.steps_per_s) or told.phase is not Phase.TIMED:
        return ""
    return rate(told.steps_per_s * trial.global_batch, "sample").replace(SPACE, " ")


def sparkline(losses: Sequence[Loss], cells: int = CURVE_CELLS) -> str:
    """Losses over steps as bars from the lowest to the highest; fewer bars than losses show the last of each part."""
    if len(losses) < 2:
        return ""
    first, last = losses[0][0], losses[-1][0]
    columns: dict[int, float] = {}
    for step, loss in losses:
        columns[round((step - first) / (last - first) * (cells - 1)) if last > first else 0] = loss
    low, high = min(columns.values()), max(columns.values())
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for _column, value in sorted(columns.items()))


def clock_text(seconds: float) -> str:
    """Seconds as a clock shows them: `0:42`, `12:05`, `1:02:09`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
