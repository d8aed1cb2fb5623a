"""What the recipes of a group learned: their families best first, each held against the baseline's, seed by seed.

A group is judged so where its cells differ in the recipe only, and where it is one cell that was evaluated on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from harness.analyse.cells import Cell, HeldOut, workload_facts
from harness.analyse.families import Family, Rung, families_of
from harness.analyse.frame import compared_keys, setting, setting_text
from harness.analyse.paired import Paired, adjusted, judged, paired
from harness.analyse.quantity import SPACE, listed
from harness.run.stored import StoredRun
from harness.schema.recipe_text import differing
from harness.schema.record import Record, RunInfo
from harness.schema.suite import AXES

CHANGE_THE_LOSS = ("regularizers",)
"""Keys of a recipe that may change what the training loss is: areas under it are not compared where they differ."""
STATE = "memory_optimizer_bytes"


@dataclass(frozen=True)
class Learning:
    """What a group learned.

    kind: recipes that are compared, or one workload; metric: name of the held-out one without `eval_`; step: the
    optimizer step after which all were evaluated, None where nothing was; trivial: the metric of predictors that
    learned nothing; families: best first, those without a value last; against: by label, each family's best rung
    against that of the baseline's family; rivals: each against the best family; areas: as `against`, of the area under
    the training loss; every: steps between evaluations, as asked.
    """

    kind: Literal["recipes", "workload"]
    metric: str
    higher: bool
    step: int | None
    target: float | None
    trivial: dict[str, float]
    families: tuple[Family, ...]
    against: dict[str, Paired]
    rivals: dict[str, Paired]
    areas: dict[str, Paired]
    every: int | None = None

    @property
    def name(self) -> str:
        """The metric in words."""
        return self.metric.replace("_", " ")

    @property
    def known(self) -> list[Family]:
        """Families with a held-out value, best first."""
        return [family for family in self.families if family.best is not None]

    @property
    def baseline(self) -> Family | None:
        """The family that the baseline is of."""
        return next((family for family in self.families if family.is_baseline), None)

    @cached_property
    def ties(self) -> list[Family]:
        """Families that are not shown to learn worse than the best one."""
        shown = {label for label, pair in self.rivals.items() if pair.verdict == "worse"}
        return [family for family in self.known[1:] if family.label not in shown]

    @property
    def first(self) -> Family | None:
        """First to the target, in seconds: of the families all of whose seeds reached it."""
        reached = [(seconds, family) for family in self.known if (seconds := _seconds(family)) is not None]
        return min(reached, key=lambda pair: pair[0])[1] if reached else None

    @property
    def edges(self) -> list[str]:
        """Families whose best rate is at the edge of the ladder, those of the same rate together:
        `lion and sgd: the best rate is the largest tried, 0.3`.
        """
        found: dict[tuple[str, float], list[str]] = {}
        for family in self.known:
            if family.edge and family.best is not None:
                found.setdefault((family.edge, family.best.lr), []).append(family.label)
        return [
            f"{listed(names, most=8)}: the best rate is the {edge} tried, {lr:g}" for (edge, lr), names in found.items()
        ]

    @property
    def ladder(self) -> bool:
        """Any family has several rates."""
        return any(len(family.tried) > 1 for family in self.families)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys in which the recipes of the group differ."""
        return differing([rung.recipe for family in self.families for rung in family.rungs])


def _seconds(family: Family) -> float | None:
    found = family.best.reach if family.best else None
    return found.seconds(found.median) if found and found.all and found.median is not None else None


def at_rate(rung: Rung) -> str:
    """`lr 0.003`, with a space that does not break."""
    return f"lr{SPACE}{rung.lr:g}"


def judged_by_learning(info: RunInfo, records: Sequence[Record], cells: int) -> Literal["recipes", "workload"] | None:
    """Whether a group is about what is learned.

    recipes: `recipe` is compared and is all that its cells differ in; workload: it is one cell, and the suite asks for
    evaluations on the way. Neither where no cell is evaluated at all.
    """
    trials = [record.trial for record in records]
    if all(trial.eval_every == 0 for trial in trials):
        return None
    if cells == 1:
        return "workload" if trials[0].eval_every else None
    if "recipe" not in compared_keys(info):
        return None
    others = [key for key in AXES if key != "recipe"]
    alike = all(len({setting_text(key, setting(trial, key)) for trial in trials}) == 1 for key in others)
    return "recipes" if alike else None


def learning_of(run: StoredRun, members: pd.DataFrame, cells: Sequence[Cell], found: HeldOut | None) -> Learning | None:
    """What a group (rows of `trials_frame`, its cells, what they reached) learned; None where it is about speed."""
    records: list[Record] = list(members["record"])
    kind = judged_by_learning(run.info, records, len(cells))
    if kind is None:
        return None
    facts: dict[str, Any] = workload_facts(run.info, records[0])
    higher = facts.get("better") == "higher"
    families = ordered(families_of(run, members, cells, found), higher)
    best = next((family for family in families if family.best), None)
    base = next((family for family in families if family.is_baseline), None)
    compared = differing([rung.recipe for family in families for rung in family.rungs])
    whole = not set(CHANGE_THE_LOSS) & set(compared)
    target = facts.get("target")
    return Learning(
        kind=kind,
        metric=str(facts.get("metric", "loss")),
        higher=higher,
        step=found.step if found else None,
        target=None if target is None else float(target),
        trivial={str(name): float(value) for name, value in (facts.get("trivial") or {}).items()},
        families=tuple(families),
        against=_all_against(families, base, higher),
        rivals=_all_against(families, best, higher),
        areas=_all_against(families, base, higher=False, areas=True) if whole else {},
        every=records[0].trial.eval_every,
    )


def ordered(families: Sequence[Family], higher: bool) -> list[Family]:
    """Best first, by means adjusted for the seeds that a family lacks; those without a value last."""
    means = adjusted({str(at): dict(each.best.finals) for at, each in enumerate(families) if each.best})
    sign = -1 if higher else 1
    order = sorted(range(len(families)), key=lambda at: sign * means[str(at)] if str(at) in means else float("inf"))
    return [families[at] for at in order]


def _all_against(
    families: Sequence[Family], base: Family | None, higher: bool, areas: bool = False
) -> dict[str, Paired]:
    if base is None or base.best is None:
        return {}
    found = {}
    for family in families:
        if family is base or family.best is None:
            continue
        own, its = (family.best.areas, base.best.areas) if areas else (family.best.finals, base.best.finals)
        if (pair := paired(own, its, higher)) is not None:
            found[family.label] = pair
    return judged(found, higher)
