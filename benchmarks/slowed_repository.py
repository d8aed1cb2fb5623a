"""A repository of two commits, the second slower by its own work: for `benchmarks.calibrate --live`.

square   8 square layers, forward and backward: 23 matrix products (nobody asks for the input's gradient). The second
         commit repeats one of them and throws it away: 4.3 % of the products, seen as 3.0 to 3.9 % of CPU time.
streams  16 additions to 8 MiB each, of 128 MiB in all, more than the caches hold: a step waits for memory. The second
         commit adds to one of them again: 6.3 % of the traffic, 5 % of the CPU time, as the rest of a step is 1 ms.

That is proportional to CPU time whatever else the machine does; a 3 % spin by the wall clock measured 12 % under load.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

MODEL = '''
import torch
from torch import nn

from harness import workloads
from harness.schema.suite import Recipe

LAYERS, WIDTH, ROWS = 8, 256, 128
AGAIN = {again}
STREAMS, FLOATS = 16, 2**21


@workloads.register(
    "square", sizes={{"only": {{}}}}, unit="row", metric="accuracy", better="higher", target=0.9,
    recipe=Recipe(optimizer="sgd", lr=1e-3, schedule="constant", weight_decay=0.0, clip="off"),
    global_batch=ROWS, micro_batch=ROWS,
)
def square(size: str) -> workloads.Workload:
    """Square layers."""
    rows = torch.randn(512, WIDTH, generator=torch.Generator().manual_seed(0))
    labels = (rows.sum(dim=1) > 0).long()

    def loss(model, batch):
        with torch.no_grad():
            for layer in range(AGAIN):
                model[layer](batch[0])
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return workloads.Workload(
        build=lambda: nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))),
        train=(rows, labels),
        held_out=(rows, labels),
        loss=loss,
        evaluate=lambda model, batch: {{"accuracy": ((model(batch[0]).argmax(1) == batch[1]).sum(), len(batch[1]))}},
    )


@workloads.register(
    "streams", sizes={{"only": {{}}}}, unit="row", metric="accuracy", better="higher", target=0.9,
    recipe=Recipe(optimizer="sgd", lr=1e-3, schedule="constant", weight_decay=0.0, clip="off"),
    global_batch=8, micro_batch=8,
)
def streams(size: str) -> workloads.Workload:
    """A small layer, and additions to more memory than the caches hold."""
    rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    labels = (rows.sum(dim=1) > 0).long()
    held = []

    def loss(model, batch):
        if not held:
            held.extend(torch.zeros(FLOATS) for _ in range(STREAMS))
        for each in (*held, *held[:AGAIN]):
            each.add_(1.0)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return workloads.Workload(
        build=lambda: nn.Linear(8, 2),
        train=(rows, labels),
        held_out=(rows, labels),
        loss=loss,
        evaluate=lambda model, batch: {{"accuracy": ((model(batch[0]).argmax(1) == batch[1]).sum(), len(batch[1]))}},
    )
'''
SUITE = """
question = "Is it slower?"
baseline = { strategy = "single" }
[fixed]
size = "only"
devices = 2
[grid]
workload = ["square", "streams"]
strategy = ["single"]
"""


def made(folder: Path) -> tuple[str, str]:
    """Make it; base and head. The working tree is the head's."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    commits = []
    for again in (0, 1):
        (folder / "model.py").write_text(MODEL.format(again=again))
        (folder / "speed.toml").write_text(SUITE)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "a commit")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits[0], commits[1]


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
