"""Is the gate right? `python -m benchmarks.calibrate` replays recorded A/A rounds and prints each figure with its goal.

    python -m benchmarks.calibrate                    the replayed figures, in a minute; those of the history as well
    python -m benchmarks.calibrate --live 20          also `harness ab` for real, 20 tries each: about an hour
    python -m benchmarks.calibrate --live 20 --only square      one of them alone
    python -m benchmarks.calibrate --record 5         record the A/A rounds anew, 5 sessions of 16 rounds

Recorded rounds are of identical code, two cells in five sessions on a busy machine of two cores. Nothing tells their
three arms apart, so each replay deals them out as A, B and null anew. Rounds of one matrix row are of one session: what
a session does to an arm as a whole (its server's memory) would be seen as a false verdict.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import calibrate_convergence
from benchmarks.calibrate_history import history_figures
from benchmarks.calibrate_live import LIVE, live
from benchmarks.figure import Figure, say
from harness.analyse.compare import Judgement, compare
from harness.analyse.stats import Paired
from harness.schema.measured import Measured

DATA = Path(__file__).parents[1] / "tests" / "data" / "ab_aa.jsonl"
CLOCKS = ("step_s", "step_cpu_s")
CELLS, ROUNDS = 10, 15
"""Of a replayed matrix: 10 cells with two clocks are 20 metrics."""
SLOWER = 1.03
RECORDED_ROUNDS = 16


@dataclass(frozen=True)
class Block:
    """Rounds of one cell in one session: seconds (clocks, arms, rounds)."""

    cell: str
    session: str
    seconds: np.ndarray[Any, np.dtype[np.float64]]


def recorded(path: Path = DATA) -> list[Block]:
    """The recorded rounds, by session and cell."""
    found: dict[tuple[str, str], list[list[list[float]]]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found.setdefault((row["cell"], row["session"]), []).append([row[clock] for clock in CLOCKS])
    return [Block(cell, session, np.moveaxis(np.array(rows), 0, 2)) for (cell, session), rows in found.items()]


def matrix(blocks: Sequence[Block], draw: np.random.Generator, slower: float = 1.0) -> list[list[Measured]]:
    """A, B and null of a matrix of 20 metrics. slower: what B's seconds are multiplied by."""
    sides: list[list[Measured]] = [[], [], []]
    for number in range(CELLS):
        block = blocks[draw.integers(len(blocks))]
        chosen = draw.choice(block.seconds.shape[2], ROUNDS, replace=False)
        for side, arm in enumerate(draw.permutation(3)):
            for round_ in chosen:
                step_s, step_cpu_s = block.seconds[:, arm, round_] * (slower if side == 1 else 1.0)
                metrics = {"step_s": float(step_s), "step_cpu_s": float(step_cpu_s)}
                sides[side].append(
                    Measured(cell=f"cell {number}", round=str(round_), session="s", machine="m", metrics=metrics)
                )
    return sides


def verdicts(
    blocks: Sequence[Block], tries: int, slower: float = 1.0, control: bool = True, seed: int = 1
) -> Iterator[list[Judgement]]:
    """The judgements of so many replayed matrices, with the null control or without."""
    draw = np.random.default_rng(seed)
    for _ in range(tries):
        a, b, null = matrix(blocks, draw, slower)
        yield compare(a, b, null if control else ())


def false_verdicts(blocks: Sequence[Block], tries: int, slower: float = 1.0, control: bool = True) -> float:
    """Share of matrices with any `regressed` or `improved`."""
    judged = verdicts(blocks, tries, slower, control)
    return sum(any(each.verdict in ("regressed", "improved") for each in found) for found in judged) / tries


def called_same(blocks: Sequence[Block], tries: int) -> float:
    """Share of CPU times that are truly 3 % slower and are called `same`."""
    words = [
        each.verdict
        for judged in verdicts(blocks, tries, SLOWER, seed=2)
        for each in judged
        if each.metric == "step_cpu_s"
    ]
    return words.count("same") / len(words)


def coverage(blocks: Sequence[Block], clock: int, rounds: int, tries: int, seed: int = 3) -> float:
    """Share of 95 % intervals that hold 0, the true log ratio. Rounds of all sessions of a cell."""
    draw = np.random.default_rng(seed)
    rows = []
    pools = [
        np.log(np.concatenate([each.seconds[clock] for each in blocks if each.cell == cell], axis=1))
        for cell in sorted({each.cell for each in blocks})
    ]
    for _ in range(tries):
        pool = pools[draw.integers(len(pools))]
        chosen = draw.choice(pool.shape[1], rounds, replace=False)
        arms = np.argsort(draw.random((3, rounds)), axis=0)
        rows.append(pool[arms[0], chosen] - pool[arms[1], chosen])
    low, high = Paired.of(np.array(rows)).interval()
    return float(np.mean((low <= 0) & (high >= 0)))


def replayed(path: Path = DATA, tries: int = 1000) -> list[Figure]:
    """All figures that need no machine."""
    blocks = recorded(path)
    figures = []
    for control in (True, False):
        wrong = false_verdicts(blocks, tries, control=control)
        name = f"A/A matrices of 20 metrics with any false verdict, {tries} replays"
        name += "" if control else ", no null control"
        figures.append(Figure(name, "≤ 1 %", f"{wrong:.1%}", wrong <= 0.01))
    for clock, rounds in itertools.product((1, 0), (5, 10, 20)):
        share = coverage(blocks, clock, rounds, 4 * tries)
        name = f"coverage of the 95 % interval, {('wall', 'CPU')[clock]}, {rounds} rounds"
        figures.append(Figure(name, "93 to 97 %", f"{share:.1%}", 0.93 <= share <= 0.97))
    share = called_same(blocks, tries // 10)
    return [*figures, Figure("`same` for a true 3 %", "≤ 5 %", f"{share:.1%}", share <= 0.05)]


def record(sessions: int, path: Path) -> None:
    """Record A/A rounds of this tree anew."""
    from harness.run.ab.session import opened
    from harness.run.invocation import Asked, ready

    suite = Path(__file__).parent / "suites" / "gate.toml"
    here = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked(suite, Path(folder))
        checked = ready(asked)
        lines = []
        for number in range(sessions):
            with opened((here, here), asked, checked, lambda told: say(f"{told.cell}: {told.left} to go")) as session:
                rounds = session.stage("screen", session.trials, RECORDED_ROUNDS)
            for a, b, null in zip(rounds["a"], rounds["b"], rounds["null"], strict=True):
                arms = {clock: [round(float(i.metrics[clock] or 0), 9) for i in (a, b, null)] for clock in CLOCKS}
                lines.append(json.dumps({"session": f"session {number}", "cell": a.label, **arms}))
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Print the table; 1 where a figure misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--live", type=int, default=0, metavar="TRIES", help="also run `harness ab`, so many times")
    parser.add_argument(
        "--only", nargs="+", choices=LIVE, default=LIVE, help="of the live figures these, and no replayed"
    )
    parser.add_argument("--record", type=int, default=0, metavar="SESSIONS", help="first record the rounds anew")
    parser.add_argument("--tries", type=int, default=1000, help="replayed matrices")
    asked = parser.parse_args()
    if asked.record:
        record(asked.record, DATA)
    figures = []
    if tuple(asked.only) == LIVE:
        figures = replayed(tries=asked.tries) + history_figures(recorded(), asked.tries)
        figures += calibrate_convergence.replayed()
    figures += live(asked.live, asked.only) if asked.live else []
    table = Table(title="Figures of the verdicts", title_justify="left", box=None)
    for title in ("figure", "goal", "measured", "met"):
        table.add_column(title)
    for each in figures:
        table.add_row(each.name, each.goal, each.measured, "yes" if each.met else "NO")
    Console(width=150).print(table)
    return int(not all(each.met for each in figures))


if __name__ == "__main__":
    sys.exit(main())
