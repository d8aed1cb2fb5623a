"""What a reader must know before believing a figure: damaged files, a run cut off, unsteady warm-up, a busy machine."""

from __future__ import annotations

import pandas as pd

from harness.analyse.quantity import count, digits, listed
from harness.analyse.ratios import ROUNDS_AT_LEAST
from harness.analyse.study import Study
from harness.analyse.traces import untraced
from harness.run.same_data import is_other
from harness.run.utilisation import IMPOSSIBLE

BUSY = 1.25
"""Load average over the cores used from which on other work must have been there: the trials alone stay below 1."""


def caveats(study: Study) -> list[str]:
    """All that speaks against the figures, one sentence each; empty where nothing does."""
    found = [
        _cut_off(study),
        _few_rounds(study),
        _at_the_edge(study),
        _no_baseline(study),
        _unsteady(study),
        _compiling(study),
        _busy(study),
        _shared_cores(study),
        _above_peak(study),
        _untraced(study),
        _limited(study),
        _elsewhere(study),
        _other_data(study),
        _ended_early(study),
    ]
    return [*(text for text in found if text), *study.run.warnings]


def _ended_early(study: Study) -> str:
    ended: dict[str, None] = {}
    for record, label in zip(
        study.trials["record"], study.trials["group_label"] + " " + study.trials["label"], strict=True
    ):
        noted = record.per_rank[0].facts.get("early_stopping") if record.per_rank else None
        if isinstance(noted, dict) and noted.get("stopped_step") is not None:
            ended[label] = None
    if not ended:
        return ""
    return (
        f"Early stopping ended trials before their last step: {listed(list(ended), most=4)}. Speed is of the steps "
        "they took; where cells are compared, their best held-out value counts."
    )


def _other_data(study: Study) -> str:
    names = [name for name, facts in study.run.info.workloads.items() if is_other(facts)]
    if not names:
        return ""
    said = "targets were found for others, and no older record is of the same task"
    return f"The data of {listed(names)} are not the recorded ones: {said}."


def _cut_off(study: Study) -> str:
    info, stored = study.run.info, len(study.trials)
    if stored < info.planned:
        return f"The run is not complete: {stored:,} of {info.planned:,} planned trials are stored."
    return "" if info.ended_at else "The run was cut off before it could write its end."


def _few_rounds(study: Study) -> str:
    most = max((cell.rounds for group in study.groups for cell in group.cells), default=0)
    if not 0 < most < ROUNDS_AT_LEAST:
        return ""
    if all(group.learning for group in study.groups):
        each = f"{count(most, 'seed')} of each recipe"
        return f"{each}: nothing is called better or worse on fewer than {ROUNDS_AT_LEAST}."
    return f"{count(most, 'round')}: nothing is called faster or slower on fewer than {ROUNDS_AT_LEAST}."


def _at_the_edge(study: Study) -> str:
    """Recipes whose best learning rate has no worse one on one side: their ladder should go on there."""
    several = len(study.groups) > 1
    found = [
        f"{group.label} {text}" if several else text
        for group in study.groups
        for text in (group.learning.edges if group.learning else [])
    ]
    if not found:
        return ""
    return f"Rates beyond the ladder may be better, so these recipes may not be at their best. {'; '.join(found)}."


def _no_baseline(study: Study) -> str:
    without = [
        group.label for group in study.groups if all(cell.speed is None for cell in group.cells if cell.is_baseline)
    ]
    return f"No ratio can be given where the baseline has no figure: {listed(without)}." if without else ""


def _unsteady(study: Study) -> str:
    trials = study.trials[study.trials["steady"].eq(False)]
    if trials.empty:
        return ""
    names = listed(list(dict.fromkeys(trials["group_label"] + " " + trials["label"])), most=4)
    return f"Step times were not steady when the timed window opened in {count(len(trials), 'trial')}: {names}."


def _compiling(study: Study) -> str:
    names: dict[str, None] = {}
    seconds = 0.0
    for record, label in zip(
        study.trials["record"], study.trials["group_label"] + " " + study.trials["label"], strict=True
    ):
        found = [rank.facts["compile"]["in_window_s"] for rank in record.per_rank if "compile" in rank.facts]
        if any(found):
            names[label], seconds = None, max(seconds, *found)
    if not names:
        return ""
    return (
        f"torch.compile compiled again inside the timed window, for up to {digits(seconds)} s: step times of "
        f"{listed(list(names), most=4)} are not those of a steady training."
    )


def _busy(study: Study) -> str:
    loads = pd.to_numeric(study.trials["load_start"]).dropna()
    cores = len({core for record in study.trials["record"] for rank in record.per_rank for core in rank.cores})
    if loads.empty or not cores or loads.max() <= BUSY * cores:
        return ""
    busy = int((loads > BUSY * cores).sum())
    return (
        f"Other work was on the machine: load average up to {digits(float(loads.max()))} on {count(cores, 'core')} "
        f"at the start of a trial, above {BUSY:g} per core in {busy} of {len(loads)}."
    )


def _shared_cores(study: Study) -> str:
    shared: dict[str, None] = {}
    for record, label in zip(
        study.trials["record"], study.trials["group_label"] + " " + study.trials["label"], strict=True
    ):
        cores = [core for rank in record.per_rank for core in rank.cores]
        if len(cores) > len(set(cores)):
            shared[label] = None
    if not shared:
        return ""
    return f"Ranks shared cores, so that their speed says nothing beyond that they run: {listed(list(shared), most=4)}."


def _above_peak(study: Study) -> str:
    impossible: dict[str, None] = {}
    for record, label in zip(
        study.trials["record"], study.trials["group_label"] + " " + study.trials["label"], strict=True
    ):
        if any(reason.startswith(IMPOSSIBLE) for reason in record.absent.values()):
            impossible[label] = None
    if not impossible:
        return ""
    names = listed(list(impossible), most=4)
    return f"More was computed than the devices' peak allows, so no MFU is shown: {names} (a share above 1)."


def _untraced(study: Study) -> str:
    found = [
        f"{group.label} {cell.label} ({why})"
        for group in study.groups
        for cell, why in untraced(study.run, group.cells)
    ]
    return f"There is no trace, and so no exposed communication, of {listed(found, most=4)}." if found else ""


def _limited(study: Study) -> str:
    trials = [record.trial for record in study.trials["record"]]
    if not any(trial.memory_limit_bytes and trial.device == "cpu" for trial in trials):
        return ""
    return "Steps take longer on CPU under a memory limit: compare with trials under the same limit only."


def _elsewhere(study: Study) -> str:
    records = list(study.trials["record"])
    other = sum(record.environment not in ("", study.run.info.machine_key) for record in records)
    copied = sum(record.resumed_from is not None for record in records)
    texts = [f"{count(other, 'trial')} were measured on a machine or environment with another key."] if other else []
    if copied:
        texts.append(
            f"{count(copied, 'trial')} were taken over from earlier runs: their rounds pair different sessions."
        )
    return " ".join(texts)
