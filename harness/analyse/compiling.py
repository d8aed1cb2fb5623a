"""When compiling pays off: the steps after which the seconds it took are saved by the shorter steps.

A compiled cell is compared with the same cell without that one technique, round by round as in `ratios`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from harness.analyse.quantity import digits, duration
from harness.analyse.ratios import Ratio, log_ratios, ranked, ratio_of_logs
from harness.schema.trial import Trial

COMPILE = "compile_s"
NEVER = math.inf


@dataclass(frozen=True)
class BreakEven:
    """A compiled cell (hash) against the same without. compile_s, with_s, without_s: means over the rounds of both;
    ratio: of their steps; steps: after so many it has paid off, inf: never; low, high: the same at the ends of the
    ratio's interval, None with one round. without_s, ratio and steps are None where the cell without was not measured.
    """

    group: str
    label: str
    cell: str
    compile_s: float
    with_s: float
    without_s: float | None = None
    ratio: Ratio | None = None
    steps: float | None = None
    low: float | None = None
    high: float | None = None


def break_even_steps(compile_s: float, without_s: float, with_s: float) -> float:
    """Steps after which compiling has paid off; inf (never) where a compiled step is not shorter.

    steps = compile_s ÷ (step_s without − step_s with)
    """
    saved = without_s - with_s
    return compile_s / saved if saved > 0 else NEVER


def break_evens(trials: pd.DataFrame) -> list[BreakEven]:
    """Of every compiled cell of `trials_frame` that ended well, in stored order; none where no cell has `compile_s`."""
    known = ranked(trials)
    if COMPILE not in known:
        return []
    compiled = known[known[COMPILE].notna()]
    plain = set(known.loc[known[COMPILE].isna(), "cell"])
    found = []
    for _cell, rows in compiled.groupby("cell", sort=False):
        without = next((cell for cell in _without(rows["record"].iloc[0].trial) if cell in plain), None)
        found.append(_against(rows, known, without))
    return found


def _without(trial: Trial) -> Iterator[str]:
    """The cells that are this one but for one technique."""
    for left_out in range(len(trial.techniques)):
        rest = tuple(technique for number, technique in enumerate(trial.techniques) if number != left_out)
        yield trial.model_copy(update={"techniques": rest}).cell


def _against(rows: pd.DataFrame, known: pd.DataFrame, without: str | None) -> BreakEven:
    group, label, cell = (str(rows[name].iloc[0]) for name in ("group_label", "label", "cell"))
    alone = BreakEven(group, label, cell, float(rows[COMPILE].mean()), float(rows["step_s"].mean()))
    if without is None:
        return alone
    both = known[known["cell"].isin([cell, without])]
    logs = log_ratios(both, without, "step_s")[cell].dropna()
    if logs.empty:
        return alone
    rounds = both.set_index(["seed", "repeat"]).loc[list(logs.index)].groupby("cell")
    compile_s, step_s = float(rounds[COMPILE].mean()[cell]), rounds["step_s"].mean()
    ratio, without_s = ratio_of_logs(logs.to_numpy(float)), float(step_s[without])
    ends = [
        None if end is None else break_even_steps(compile_s, without_s, end * without_s)
        for end in (ratio.low, ratio.high)
    ]
    steps = break_even_steps(compile_s, without_s, ratio.value * without_s)
    return BreakEven(group, label, cell, compile_s, float(step_s[cell]), without_s, ratio, steps, *ends)


def in_steps(steps: float | None) -> str:
    """`1,240`, or `never`; nothing where it is not known."""
    if steps is None or math.isinf(steps):
        return "" if steps is None else "never"
    whole = max(1, math.ceil(steps))
    return str(whole) if whole < 1000 else digits(whole)


def in_words(found: BreakEven) -> str:
    """`gpt/nano ddp compile: 12.1 s of compiling are saved after 1,240 steps [900, never].`"""
    took = f"{found.group} {found.label}: {duration(found.compile_s)} of compiling"
    if found.steps is None:
        return f"{took}, and no cell without it to compare with."
    if math.isinf(found.steps):
        return f"{took} never pay off, a step is no shorter."
    between = f" [{in_steps(found.low)}, {in_steps(found.high)}]" if found.low is not None else ""
    return f"{took} are saved after {in_steps(found.steps)} steps{between}."
