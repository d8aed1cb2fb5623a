"""Is what two versions learned judged right? Recorded loss curves of many seeds, dealt out three seeds at a time.

    python -m benchmarks.calibrate_convergence             each figure with its goal, in seconds
    python -m benchmarks.calibrate_convergence --record    record the curves anew: `harness run`, 5 to 15 minutes

Four arms of each workload, by seed: the recipe as it is; the same once more; its learning rate × 0.95; and the same
maths with sums in another order (other micro-batches), where nothing but rounding differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figure import Figure
from harness.analyse.compare import compare
from harness.analyse.criteria import LOSS_AREA
from harness.analyse.judgement import Judgement
from harness.analyse.sides import of_run
from harness.run.stored import StoredRun, read_run
from harness.schema.measured import Learned, Measured

DATA = Path(__file__).parents[1] / "tests" / "data" / "convergence.jsonl"
BASE, AGAIN, SLOWER, ROUNDED = "as it is", "once more", "lr × 0.95", "other rounding"
SEEDS, SEEDS_AGAIN = 16, 4
BLOCK = 10
"""Steps whose mean loss is kept."""
SUITE = """
question = "Curves to calibrate by."
baseline = {{ strategy = "single" }}
[fixed]
workload = {workload}
size = "{size}"
strategy = "single"
devices = 2
steps = {steps}
warmup_steps = 10
eval_every = 10
global_batch = {global_batch}
micro_batch = {micro_batch}
recipe = {{ lr = {lr} }}
[budget]
seeds = {seeds}
repeats = 1
parity_steps = 2
"""


@dataclass(frozen=True)
class Task:
    """What is recorded of a workload. rounded: micro-batch of the arm whose sums are in another order."""

    cell: str
    workload: str
    size: str
    steps: int
    lr: float
    global_batch: int
    micro_batch: int
    rounded: int
    target: float
    arms: tuple[str, ...] = (BASE, AGAIN, SLOWER, ROUNDED)


TASKS = (
    Task("gpt/nano", '{ name = "gpt", context = 32 }', "nano", 150, 4e-3, 8, 8, 4, 2.6),
    Task("gpt/nano at 1e-3", '{ name = "gpt", context = 32 }', "nano", 150, 1e-3, 8, 8, 4, 2.9, (BASE, SLOWER)),
    Task("mnist1d/mlp", '"mnist1d"', "mlp", 230, 1e-2, 100, 50, 100, 0.5),
)
"""Targets are such that they are reached within the steps."""
FOUND_BY = {"gpt/nano at 1e-3": 3, "gpt/nano": 6}
"""By cell, the seeds that find lr × 0.95. At 4e-3, near the best, it changes the area by 0.14 % only, with an SD of
0.05 % between seeds: 3 find it in 54 % of tries. Of mnist1d it is not asked: −0.5 % with an SD of 0.6 %."""
FLAGGED = ("regressed", "improved")


def replayed(path: Path = DATA, tries: int = 400) -> list[Figure]:
    """All figures."""
    curves, figures = recorded(path), []
    for cell, seeds in FOUND_BY.items():
        found = share(curves, cell, SLOWER, tries, FLAGGED, seeds=seeds)
        name = f"{cell}: lr × 0.95 is found by {seeds} paired seeds"
        figures.append(Figure(name, "≥ 95 %", f"{found:.1%}", found >= 0.95))
    for cell in (task.cell for task in TASKS if ROUNDED in task.arms):
        wrong = share(curves, cell, ROUNDED, tries, FLAGGED, of_any=True)
        name = f"{cell}: runs that differ in rounding alone are flagged, 3 seeds"
        figures.append(Figure(name, "≤ 1 %", f"{wrong:.1%}", wrong <= 0.01))
        alike = share(curves, cell, AGAIN, tries // 10, ("same",))
        figures.append(Figure(f"{cell}: identical runs are the `same`, 3 seeds", "all", f"{alike:.0%}", alike == 1.0))
    return figures


def recorded(path: Path = DATA) -> dict[str, list[Measured]]:
    """The recorded rounds by arm: a cell is a workload, a round a seed."""
    found: dict[str, list[Measured]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        learned = Learned(seed=row["seed"], **row["learned"])
        figures = {**row["metrics"], LOSS_AREA: math.fsum(row["loss"]) / len(row["loss"])}
        found.setdefault(row["arm"], []).append(
            Measured(cell=row["workload"], round=f"seed {row['seed']}", session=row["arm"], machine="m",
                     learned=learned, metrics=figures)
        )  # fmt: skip
    return found


def verdicts(
    curves: dict[str, list[Measured]], cell: str, arm: str, tries: int, seeds: int = 3, pairs: bool = True
) -> Iterator[list[Judgement]]:
    """The arm against the base, so many seeds at a time. pairs: of the same seeds; else of any two, as a control."""
    draw = np.random.default_rng(7)
    base, other = ({_seed(item): item for item in curves[name] if item.cell == cell} for name in (BASE, arm))
    known = sorted(base.keys() & other.keys())
    for _ in range(tries):
        chosen = draw.choice(known, seeds, replace=False)
        against = chosen if pairs else draw.choice([each for each in known if each not in chosen], seeds, replace=False)
        b = [_as_seed(other[int(own)], int(seed)) for own, seed in zip(against, chosen, strict=True)]
        yield compare([base[int(seed)] for seed in chosen], b)


def share(
    curves: dict[str, list[Measured]], cell: str, arm: str, tries: int, words: Sequence[str],
    of_any: bool = False, pairs: bool = True, seeds: int = 3,
) -> float:  # fmt: skip
    """Share of tries with one of these words about the area under the loss, or about any metric."""
    judged = verdicts(curves, cell, arm, tries, seeds, pairs)
    hits = [any(each.verdict in words for each in found if of_any or each.metric == LOSS_AREA) for found in judged]
    return sum(hits) / len(hits)


def _seed(item: Measured) -> int:
    assert item.learned is not None
    return item.learned.seed


def _as_seed(item: Measured, seed: int) -> Measured:
    """The round as if it were of that seed, whose first loss is then not known."""
    if _seed(item) == seed or item.learned is None:
        return item
    learned = item.learned.model_copy(update={"seed": seed, "first_loss": None})
    return item.model_copy(update={"learned": learned, "round": f"seed {seed}"})


def record(path: Path = DATA) -> None:
    """Record the curves of this tree anew."""
    lines = [json.dumps(row) for task in TASKS for arm in task.arms for row in _rows(task, arm)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _run(suite: str) -> StoredRun:
    with tempfile.TemporaryDirectory(prefix="calibrate-") as folder:
        file = Path(folder) / "suite.toml"
        file.write_text(suite, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "CI": "1"}
        command = [sys.executable, "-m", "harness.cli", "run", str(file), "--results", f"{folder}/results"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return read_run(Path(done.stdout.splitlines()[-1]))


def _rows(task: Task, arm: str) -> Iterator[dict[str, Any]]:
    """By seed: mean losses of blocks of steps, held-out value, and steps to the task's own target."""
    asked = replace(
        task,
        lr=0.95 * task.lr if arm == SLOWER else task.lr,
        micro_batch=task.rounded if arm == ROUNDED else task.micro_batch,
    )
    run = _run(SUITE.format(**vars(asked), seeds=[*range(SEEDS_AGAIN if arm == AGAIN else SEEDS)]))
    for item, of_item in zip(of_run(run), run.records, strict=True):
        assert item.learned is not None, item.reason
        losses = [float(each or math.nan) for each in run.series[of_item.trial.id].columns["loss"]]
        name, sign = f"eval_{item.learned.metric}", 1 if item.learned.better == "higher" else -1
        reached = [each.step for each in of_item.evaluations if sign * each.metrics[name] >= sign * task.target]
        learned = item.learned.model_copy(update={"target": task.target, "train_s": None})
        yield {
            "arm": arm,
            "workload": task.cell,
            "seed": item.learned.seed,
            "learned": learned.model_dump(exclude={"seed"}),
            "metrics": {name: item.metrics[name]} | ({"steps_to_target": float(reached[0])} if reached else {}),
            "loss": [math.fsum(losses[at : at + BLOCK]) / BLOCK for at in range(0, len(losses), BLOCK)],
        }


def main() -> int:
    """Print the figures; 1 where one misses its goal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate_convergence", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--record", action="store_true", help="first record the curves anew")
    if parser.parse_args().record:
        record()
    figures = replayed()
    for each in figures:
        print(f"{each.name:70} {each.goal:8} {each.measured:8} {'yes' if each.met else 'NO'}")
    return int(not all(each.met for each in figures))


if __name__ == "__main__":
    sys.exit(main())
