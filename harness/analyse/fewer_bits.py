"""What fewer bits gain: speed and memory of each precision over those of the same cell in fp32, round by round.

A precision is called faster (slower) where all its cells are, each by at least 1 % and shown over at least 3 rounds,
corrected for all such comparisons of the group (Holm); else it is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analyse.cells import MEMORY, SPEED
from harness.analyse.quantity import times
from harness.analyse.ratios import PRACTICAL, ROUNDS_AT_LEAST, Ratio, log_ratios, ranked, ratio_of_logs
from harness.analyse.stats import holm
from harness.analyse.study import Group
from harness.schema.suite import Choice
from harness.schema.trial import Trial

PLAIN = "fp32"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class FewerBits:
    """A precision over fp32. speeds, memories: one per cell that also ran in fp32, lowest first; word: faster, slower,
    undecided.
    """

    precision: str
    speeds: tuple[float, ...]
    memories: tuple[float, ...]
    word: str


def of(group: Group) -> list[FewerBits]:
    """Every precision but fp32 with a cell that ended well in both, in the order of the cells."""
    pairs = list(_pairs(group))
    corrected = holm(np.array([1.0 if ratio.p is None else ratio.p for _precision, ratio, _memory in pairs]))
    found: dict[str, list[tuple[Ratio, float | None, float]]] = {}
    for (precision, ratio, memory), p in zip(pairs, corrected, strict=True):
        found.setdefault(precision, []).append((ratio, memory, p))
    return [
        FewerBits(
            precision,
            tuple(sorted(ratio.value for ratio, _memory, _p in own)),
            tuple(sorted(memory for _ratio, memory, _p in own if memory is not None)),
            _word([(ratio, p) for ratio, _memory, p in own]),
        )
        for precision, own in found.items()
    ]


def _pairs(group: Group) -> Iterator[tuple[str, Ratio, float | None]]:
    trials: dict[str, Trial] = {record.trial.cell: record.trial for record in group.trials["record"]}
    ran = ranked(group.trials)
    for cell in sorted(group.ranking, key=lambda cell: cell.precision):
        twin = trials[cell.cell].model_copy(update={"precision": Choice(name=PLAIN)}).cell
        if twin == cell.cell or twin not in trials:
            continue
        logs = log_ratios(ran, twin, SPEED)
        if cell.cell not in logs:
            continue
        known = logs[cell.cell].dropna().to_numpy(float)
        if len(known):
            own, its = cell.metrics.get(MEMORY), group.named(twin).metrics.get(MEMORY)
            yield trials[cell.cell].precision.label, ratio_of_logs(known), own / its if own and its else None


def _word(pairs: Sequence[tuple[Ratio, float]]) -> str:
    words = {
        "undecided"
        if ratio.rounds < ROUNDS_AT_LEAST or p >= SIGNIFICANT or abs(ratio.value - 1) < PRACTICAL
        else ("faster" if ratio.value > 1 else "slower")
        for ratio, p in pairs
    }
    return words.pop() if len(words) == 1 else "undecided"


def in_words(found: FewerBits) -> str:
    """` 0.66× to 0.75× the speed (slower) at 0.73× to 0.78× the memory`."""
    memory = f" at {_range(found.memories)} the memory" if found.memories else ""
    return f" {_range(found.speeds)} the speed ({found.word}){memory}"


def _range(values: Sequence[float]) -> str:
    low, high = times(values[0]), times(values[-1])
    return low if low == high else f"{low} to {high}"
