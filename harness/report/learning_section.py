"""Sections about learning: which recipe learns best, a section per group; did every workload learn, one for all."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.leads import overall
from harness.analyse.learned_answer import trivial_text
from harness.analyse.learning import Learning
from harness.analyse.quantity import count, digits
from harness.analyse.study import Group, Study
from harness.analyse.target import in_words, target_text
from harness.report import family_curves, sensitivity_chart, target_chart
from harness.report.family_look import left_out
from harness.report.figures import GROUPS_AT_MOST, Sketch
from harness.report.learning_tables import families_table, rungs_table, workloads_table
from harness.report.look import Look
from harness.report.section import Section

WORKLOADS_AT_MOST = 12
"""Workloads whose curves are drawn; the table holds all."""


def learning_sections(study: Study, look: Look, prefix: str) -> list[Section]:
    """A section per group whose recipes are compared, and one over all groups that are one workload each."""
    compared = [(group, found) for group in study.groups if (found := group.learning) and found.kind == "recipes"]
    alone = [group for group in study.groups if group.learning and group.learning.kind == "workload"]
    sections = [
        _recipes(
            study, group, learning, look, f"{prefix}-learning{number or ''}", number < GROUPS_AT_MOST, len(compared)
        )
        for number, (group, learning) in enumerate(compared)
    ]
    return [*sections, *([_workloads(study, alone, look, f"{prefix}-workloads")] if alone else [])]


def _recipes(study: Study, group: Group, found: Learning, look: Look, id_: str, pictured: bool, groups: int) -> Section:
    of = f" {group.label}" if groups > 1 else ""
    return Section(
        id_,
        f"Which recipe learns{of} best?" if of else "Which recipe learns best?",
        f"Learning{of}",
        _says(found),
        [sketch.drawn(look) for sketch in _sketches(study, found, id_)] if pictured else [],
        families_table(group, found, look, f"{id_}-cells"),
        (rungs_table(group, found, look, f"{id_}-rates"),) if found.ladder else (),
    )


def _says(found: Learning) -> list[str]:
    """How to read the section, and the lines its values are held against."""
    how = "Each recipe is judged at the best rate of its ladder. A seed gives all the same first weights and data."
    parts = [f"target {digits(found.target)}"] if found.target is not None else []
    parts += [f"without learning: {trivial_text(found)}"] if found.trivial else []
    better = "higher" if found.higher else "lower"
    told = f"Held-out {found.name}, {better} is better{''.join(f'; {part}' for part in parts)}."
    return [how, told]


def _sketches(study: Study, found: Learning, id_: str) -> list[Sketch]:
    pairs = family_curves.curves_of(found)
    more = left_out(found)
    sketches = []
    if found.ladder:
        sketches.append(_sensitivity(found, f"{id_}-sensitivity", more))
    for by_time, name in ((False, "steps"), (True, "time")):
        sketches.append(_curves(found, pairs, f"{id_}-{name}", by_time, more))
    if found.target is not None:
        sketches.append(_target(found, f"{id_}-target"))
    if any(rung.trained for family in found.known for rung in family.rungs):
        sketches.append(_gaps(found, f"{id_}-gap"))
    if "schedule" in found.keys and family_curves.curves_of(found):
        sketches.append(_rates(study, found, f"{id_}-rates-by-step"))
    return sketches


def _sensitivity(found: Learning, id_: str, more: str) -> Sketch:
    return Sketch(
        id_,
        "How much the learning rate matters",
        f"Held-out {found.name} after {count(found.step or 0, 'step')} over the peak rate; the band is from the least "
        "to the most of the seeds, the large mark the best rate. Crosses at the edge: seeds diverged; triangles: worse "
        f"than the axis shows.{more}",
        lambda picture: sensitivity_chart.sensitivity(found, picture),
        sensitivity_chart.in_words(found),
        "No recipe was tried at several learning rates.",
    )


def _curves(found: Learning, pairs: family_curves.Pairs, id_: str, by_time: bool, more: str) -> Sketch:
    every = f" Evaluated every {count(found.every, 'step')}." if found.every else ""
    how = (
        "The same curves over training seconds, evaluations left out: further left is sooner."
        if by_time
        else f"Each recipe at its best rate: mean over seeds, band from the least to the most.{every}{more}"
    )
    return Sketch(
        id_,
        f"Held-out {found.name} by {'time' if by_time else 'step'}",
        how,
        lambda picture: family_curves.held_out_curves(found, pairs, picture, by_time),
        family_curves.in_words(pairs, by_time),
        "No recipe was evaluated more than once.",
    )


def _target(found: Learning, id_: str) -> Sketch:
    return Sketch(
        id_,
        f"Time to the target, {target_text(found.name, found.target or 0.0)}",
        "Steps × seconds per step of each recipe at its best rate: the median seed, and the range of the seeds that "
        "reached it. Open: seeds that were watched until there and did not reach it; they are counted, never averaged.",
        lambda picture: target_chart.to_target(found, picture),
        target_chart.target_in_words(found),
        _not_reached(found),
    )


def _not_reached(found: Learning) -> str:
    reached = [each.best.reach for each in found.known if each.best is not None and each.best.reach is not None]
    if reached and not any(at.steps for at in reached):
        most = max(at.beyond for at in reached)
        return f"No recipe reached it in any seed: they were watched for {count(int(most), 'step')}."
    return "No step was timed in a recipe that ended well."


def _gaps(found: Learning, id_: str) -> Sketch:
    return Sketch(
        id_,
        "Training against held-out",
        f"{found.name.capitalize()} after the last step: open on training samples, filled on held-out ones. The figure "
        "is the generalisation gap with its 95 % interval over seeds.",
        lambda picture: target_chart.gaps(found, picture),
        target_chart.gaps_in_words(found),
        "The metric was not taken on training samples.",
    )


def _rates(study: Study, found: Learning, id_: str) -> Sketch:
    return Sketch(
        id_,
        "Learning rate by step",
        "As a share of the peak, of each recipe at its best rate, first seed.",
        lambda picture: family_curves.learning_rates(study.run, found, picture),
        [],
        "No learning rate by step was kept.",
    )


def _workloads(study: Study, groups: Sequence[Group], look: Look, id_: str) -> Section:
    learnings = [(group, group.learning) for group in groups if group.learning]
    drawn = [
        _of_workload(group, found, f"{id_}{number}").drawn(look)
        for number, (group, found) in enumerate(learnings[:WORKLOADS_AT_MOST])
    ]
    return Section(
        id_,
        "Did every workload learn?",
        "Workloads",
        overall(study),
        drawn,
        workloads_table(groups, look, f"{id_}-all"),
    )


def _of_workload(group: Group, found: Learning, id_: str) -> Sketch:
    pairs = family_curves.curves_of(found)
    rung = found.families[0].rungs[0]
    reached = (
        f"Target {digits(found.target)}: {in_words(rung.reach)}." if found.target is not None and rung.reach else ""
    )
    return Sketch(
        id_,
        f"{group.label}: {found.name}",
        f"{'Higher' if found.higher else 'Lower'} is better; mean and band over seeds. {reached}".strip(),
        lambda picture: family_curves.held_out_curves(found, pairs, picture),
        family_curves.in_words(pairs, by_time=False),
        "It was not evaluated more than once, or did not end well.",
    )
