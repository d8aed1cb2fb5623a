"""When warm-up is over: found from the step times, not guessed. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.schema.record import Warmup

BLOCK = 5
TOLERANCE = 0.10
WARMUP_MAX = 40
RULE = f"medians of the last two blocks of {BLOCK} steps within {TOLERANCE:.0%}, at most {WARMUP_MAX} steps"


def warmup_state(step_s: Sequence[float], unsettled: int, fixed: int | None = None) -> Warmup | None:
    """The decision after these warm-up steps, or None: go on.

    step_s: seconds of each step so far; unsettled: first steps that are never looked at (they carry the checks of
    applied facts and parity, or something was compiled in them); fixed: the suite's own number of steps, if it gives
    one.

        change = |median(last block) − median(block before)| ÷ median(block before) ≤ 10 %
    """
    done = len(step_s)
    if fixed is not None:
        return Warmup(steps=done, steady=True, rule="fixed by the suite") if done >= fixed else None
    settled = step_s[min(unsettled, WARMUP_MAX - 2 * BLOCK) :]
    if len(settled) < 2 * BLOCK:
        return None
    before, last = statistics.median(settled[-2 * BLOCK : -BLOCK]), statistics.median(settled[-BLOCK:])
    change = abs(last - before) / before
    if change <= TOLERANCE or done >= WARMUP_MAX:
        return Warmup(steps=done, steady=change <= TOLERANCE, rule=RULE, change=change)
    return None
