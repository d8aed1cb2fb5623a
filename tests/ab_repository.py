"""A repository as a user would have it: a model, a suite and two commits, the second with planted changes.

even    the same in both
slowed  repeats a share of its own arithmetic: slower in proportion to CPU time, as real regressions are
broken  raises in the second commit
other   learns another thing in the second commit: its loss is scaled
new     is not there in the first
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.slowed_repository import git

__all__ = ["git", "made", "suite_of"]

MODEL = '''
import torch
from torch import nn

from harness import workloads
from harness.schema.suite import Recipe


def registered(name, again=0, scale=1.0, raises=False):
    @workloads.register(
        name, sizes={{"only": {{}}}}, unit="row", metric="accuracy", better="higher", target=0.9,
        recipe=Recipe(optimizer="sgd", lr=1e-2, schedule="constant", weight_decay=0.0, clip="off"),
        global_batch=64, micro_batch=64,
    )
    def workload(size: str) -> workloads.Workload:
        """A classifier of random rows."""
        rows = torch.randn(256, 128, generator=torch.Generator().manual_seed(0))
        labels = (rows.sum(dim=1) > 0).long()

        def loss(model, batch):
            if raises:
                raise RuntimeError("planted")
            with torch.no_grad():
                for _ in range(again):
                    model(batch[0])
            return nn.functional.cross_entropy(model(batch[0]), batch[1]) * scale

        return workloads.Workload(
            build=lambda: nn.Sequential(nn.Linear(128, 512), nn.Tanh(), nn.Linear(512, 512), nn.Linear(512, 2)),
            train=(rows, labels),
            held_out=(rows, labels),
            loss=loss,
            evaluate=lambda model, batch: {{"accuracy": ((model(batch[0]).argmax(1) == batch[1]).sum(), len(rows))}},
        )


registered("even")
registered("slowed", again={again})
registered("other", scale={scale})
registered("broken", raises={raises})
{more}
'''
SUITE = """
question = "Is it slower?"
baseline = {{ strategy = "single" }}
[fixed]
size = "only"
devices = 2
[grid]
workload = [{workloads}]
strategy = ["single"]
"""


def suite_of(folder: Path, *workloads: str) -> None:
    """Write speed.toml over these workloads."""
    (folder / "speed.toml").write_text(SUITE.format(workloads=", ".join(f'"{name}"' for name in workloads)))


def made(folder: Path) -> tuple[str, str]:
    """Make the repository; its two commits. The working tree is the second."""
    folder.mkdir()
    suite_of(folder, "even", "slowed", "other", "broken", "new")
    git(folder, "init", "--quiet")
    commits = []
    for content in (
        MODEL.format(again=0, scale=1.0, raises=False, more=""),
        MODEL.format(again=2, scale=1.5, raises=True, more='registered("new")'),
    ):
        (folder / "model.py").write_text(content)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "a commit")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits[0], commits[1]
