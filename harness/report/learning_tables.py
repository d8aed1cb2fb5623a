"""Tables of learning: each recipe at its best rate, every rate of every recipe, and every workload with its target."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analyse.families import Family, Rung, seeds_text
from harness.analyse.headline import ended
from harness.analyse.learned_answer import interval_text, trivial_text
from harness.analyse.learning import STATE, Learning
from harness.analyse.paired import Paired
from harness.analyse.quantity import ABSENT, digits, times
from harness.analyse.study import Group
from harness.analyse.target import Reach, steps_text
from harness.report.columns import MIB, Column
from harness.report.look import Look
from harness.report.tables import Table, TableRow

STEPS = Column("to target", "steps", "median over seeds; > where more than half did not reach it (Kaplan–Meier)")
SECONDS = Column("to target", "s", "those steps × seconds per step")
GAP = Column("gap", "", "how much worse the metric is on held-out samples than on training samples, mean over seeds")


def families_table(group: Group, found: Learning, look: Look, id_: str) -> Table:
    """Each recipe at its best rate, best first, those without a value last."""
    columns = (
        Column("recipe", number=False),
        Column(
            "verdict", number=False, means="seed by seed against the baseline's recipe at its best rate, Holm-corrected"
        ),
        Column("best rate", "", "of the ladder; edge: the largest or smallest tried"),
        Column(
            "held out", found.name, f"mean over seeds after {found.step} steps" if found.step else "mean over seeds"
        ),
        Column("interval", "95 %", "two-sided t interval over seeds", number=False),
        Column("against baseline", "paired by seed", "losses: per cent; all else: difference", number=False),
        Column("pairs", "r", "correlation of the pairs: how much of the spread the seeds share"),
        Column("loss area", "÷ baseline", "mean training loss over all steps, ratio paired by seed"),
        STEPS,
        SECONDS,
        GAP,
        Column("near rates", "factor", "between the lowest and the highest rate whose mean is within 5 % of the best"),
        Column("step", "ms"),
        Column("state", "MiB", "what the optimizer keeps beside the parameters"),
        Column("seeds", "ok of all", number=False),
    )
    rows = [_family_row(found, family, look) for family in found.families]
    return Table(id_, f"Recipes of {group.label} at their best learning rate", columns, rows)


def _family_row(found: Learning, family: Family, look: Look) -> TableRow:
    rung = family.best
    css = look.css([family.rungs[0].cell.cell])
    if rung is None:
        statuses = dict.fromkeys(ended(each.cell) for each in family.rungs)
        off = all(each.cell.status == "UNSUPPORTED" for each in family.rungs)
        filler = (ABSENT,) * 12
        return TableRow(
            (family.label, ", ".join(statuses), *filler, seeds_text(family.rungs[0])), css, "off" if off else "bad"
        )
    pair, area = found.against.get(family.label), found.areas.get(family.label)
    verdict = "baseline" if family.is_baseline else pair.verdict if pair else "no baseline"
    texts = (
        family.label,
        verdict,
        f"{rung.lr:g}{' (edge)' if family.edge else ''}",
        digits(rung.mean, 4),
        interval_text(list(rung.finals.values()), found.higher) or ABSENT,
        pair.in_figures if pair else ABSENT,
        ABSENT if pair is None or pair.correlation is None else f"{pair.correlation:.2f}".replace("-", "−"),
        _area(area),
        *reach_texts(rung.reach),
        digits(rung.gap.value, 2) if rung.gap else ABSENT,
        family.sensitivity or ABSENT,
        _metric(rung, "step_s", 1e-3),
        _metric(rung, STATE, MIB),
        seeds_text(rung),
    )
    return TableRow(texts, css, "base" if family.is_baseline else "ok")


def _area(area: Paired | None) -> str:
    return ABSENT if area is None else times(math.exp(area.difference.value))[:-1] if area.ratio else ABSENT


def _metric(rung: Rung, name: str, scale: float) -> str:
    value = rung.cell.metrics.get(name)
    return ABSENT if value is None else digits(value / scale)


def reach_texts(found: Reach | None) -> tuple[str, str]:
    """Steps and seconds to the target, with how many seeds where it was not all of them."""
    if found is None:
        return ABSENT, ABSENT
    few = "" if found.all else f" ({len(found.steps)}/{found.seeds})"
    median = found.median
    seconds = found.seconds(found.beyond if median is None else median)
    text = ABSENT if seconds is None else f"{'> ' if median is None else ''}{digits(seconds)}"
    return f"{steps_text(found)}{few}", text


def rungs_table(group: Group, found: Learning, look: Look, id_: str) -> Table:
    """Every rate of every recipe, in the order of the recipes."""
    columns = (
        Column("recipe", number=False),
        Column("ended", number=False, means="the best rate of its recipe, or how its trials ended"),
        Column("rate"),
        Column("held out", found.name, "mean over seeds"),
        Column("least", "over seeds"),
        Column("most", "over seeds"),
        STEPS,
        GAP,
        Column("step", "ms"),
        Column("seeds", "ok of all", number=False),
        Column("diverged", "step, last finite loss", number=False),
    )
    rows = [_rung_row(family, rung, look) for family in found.families for rung in family.rungs]
    return Table(id_, f"Every learning rate of {group.label}", columns, rows)


def _rung_row(family: Family, rung: Rung, look: Look) -> TableRow:
    how = "best" if rung is family.best else "" if rung.known else ended(rung.cell)
    low, high = (digits(end, 4) for end in rung.band) if rung.known else (ABSENT, ABSENT)
    lost = "; ".join(f"seed {each.seed}: {each.in_words}" for each in rung.diverged)
    texts = (
        family.label,
        how,
        f"{rung.lr:g}",
        digits(rung.mean, 4) if rung.known else ABSENT,
        low,
        high,
        reach_texts(rung.reach)[0],
        digits(rung.gap.value, 2) if rung.gap else ABSENT,
        _metric(rung, "step_s", 1e-3),
        seeds_text(rung),
        lost or ABSENT,
    )
    off = "off" if rung.cell.status == "UNSUPPORTED" else "bad"
    kind = off if not rung.known else "base" if rung is family.best else "ok"
    return TableRow(texts, look.css([rung.cell.cell]), kind)


def workloads_table(groups: Sequence[Group], look: Look, id_: str) -> Table:
    """Every workload of a run whose groups are of one cell each: metric, target, end, when reached, no learning."""
    columns = (
        Column("workload", number=False),
        Column("target reached", "seeds", number=False),
        Column("metric", number=False),
        Column("target"),
        Column("end", "mean over seeds"),
        Column("interval", "95 %", "two-sided t interval over seeds", number=False),
        STEPS,
        SECONDS,
        GAP,
        Column("step", "ms"),
        Column("without learning", "", "the metric of predictors that learned nothing", number=False),
    )
    rows = [_workload_row(group, found, look) for group in groups if (found := group.learning) is not None]
    return Table(id_, "Workloads: what each learned, and when it reached its target", columns, rows)


def _workload_row(group: Group, found: Learning, look: Look) -> TableRow:
    rung = found.families[0].rungs[0]
    at = rung.reach
    reached = at.of_seeds if at else "no target" if rung.known else ended(rung.cell)
    texts = (
        group.label,
        reached,
        found.name,
        ABSENT if found.target is None else f"{found.target:g}",
        digits(rung.mean, 4) if rung.known else ABSENT,
        (interval_text(list(rung.finals.values()), found.higher) if rung.known else "") or ABSENT,
        *reach_texts(at),
        digits(rung.gap.value, 2) if rung.gap else ABSENT,
        _metric(rung, "step_s", 1e-3),
        trivial_text(found) or ABSENT,
    )
    return TableRow(texts, look.css([rung.cell.cell]), "bad" if not rung.known or (at and not at.all) else "ok")
