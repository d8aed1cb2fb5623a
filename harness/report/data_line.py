"""What a group trains on, in a line: batch, steps, what its recipes have in common, data, target, no learning."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.cells import targets, workload_facts
from harness.analyse.frame import shared_by_recipes
from harness.analyse.quantity import count, digits
from harness.analyse.study import Group, Study
from harness.schema.memory_size import memory_text
from harness.schema.recipe_text import differing
from harness.schema.suite import Choice, Recipe


def data_line(each: Study, group: Group) -> str:
    """What a group trains on, as far as run.json says: data, samples, licence, target and what needs no learning."""
    facts = workload_facts(each.run.info, group.trials["record"].iloc[0])
    trial = group.trials["record"].iloc[0].trial
    trivial = facts.get("trivial") or {}
    limit = trial.memory_limit_bytes
    known = targets(each.run.info, list(group.trials["record"]))
    parts = [
        f"memory limited to {memory_text(limit)} per device" if limit else "",
        f"{batch_in_words(group)}, {count(trial.steps, 'timed step')}, {recipe_in_words(group)}",
        f"data: {facts['source']}" if facts.get("source") else "",
        f"{facts['train_samples']:,} training and {facts['held_out_samples']:,} held-out samples"
        if "train_samples" in facts and "held_out_samples" in facts
        else "",
        f"target: {str(facts['metric']).replace('_', ' ')} {ranged(known)}" if known else "",
        f"without learning: {', '.join(f'{name} {digits(value)}' for name, value in trivial.items())}"
        if trivial
        else "",
    ]
    return " · ".join(part for part in parts if part)


def ranged(known: Sequence[float]) -> str:
    """`0.66`; `0.3 to 0.9, by size` where sizes have targets of their own."""
    ends = digits(known[0])
    return ends if len(known) == 1 else f"{ends} to {digits(known[-1])}, by size"


def recipe_in_words(group: Group) -> str:
    """What the recipes of a group have in common."""
    recipes = [record.trial.recipe for record in group.trials["record"]]
    alike = recipes[0].model_copy(update=dict.fromkeys(differing(recipes))).label or "recipes differ"
    return ", ".join([alike, *shared_in_words(recipes)])


def shared_in_words(recipes: Sequence[Recipe]) -> list[str]:
    """Options that labels leave out, since most recipes share them: `warmup_steps=20 in 7 of 8 schedules`."""
    distinct = list(dict.fromkeys(recipe.model_copy(update={"lr": None}) for recipe in recipes))
    told = []
    for key, options in shared_by_recipes(distinct).items():
        for name, value in options.items():
            own = [each for each in distinct if isinstance(at := getattr(each, key), Choice) and name in at.options]
            told.append(f"{Choice(name=key, options={name: value}).label[len(key) + 1 : -1]} in {len(own)} of "
                        f"{count(len(distinct), key)}")  # fmt: skip
    return told


def batch_in_words(group: Group) -> str:
    """`global batch 64`; `16 samples per device, global batch 16 to 64` where it grows with the devices."""
    trials = [record.trial for record in group.trials["record"]]
    least, most = min(trial.global_batch for trial in trials), max(trial.global_batch for trial in trials)
    whole = f"global batch {least}" if least == most else f"global batch {least} to {most}"
    per_device = trials[0].batch_per_device
    return whole if per_device is None else f"{count(per_device, 'sample')} per device, {whole}"
