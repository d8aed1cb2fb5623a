"""Records as tables, one row per trial and one row per step: all that page and console say is computed from them.

A cell is compared with others of its group: cells that are equal on every key that the baseline does not name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analyse.quantity import count
from harness.analyse.recipe_names import shared_options, without
from harness.run.stored import StoredRun
from harness.schema.recipe_text import differing
from harness.schema.record import Record, RunInfo
from harness.schema.suite import AXES, Choice, Recipe
from harness.schema.trial import Trial

OF_TRIAL = {"devices": "cell_devices"}
"""Key of a suite → attribute of a trial, where they differ: a trial's `devices` is how many of those it uses."""
BATCHES = ("global_batch", "batch_per_device", "micro_batch")
"""Keys of a suite that say how many samples a step has."""
FIXED_COLUMNS = (
    *("trial_id", "cell", "group", "group_label", "label", "main", "options", "is_baseline", "strategy"),
    *("strategy_label", "precision", "techniques", "recipe", "seed", "repeat", "status", "reason", "phase"),
    *("parity", "steady", "load_start", "record"),
)


def trials_frame(run: StoredRun) -> pd.DataFrame:
    """One row per trial, in stored order; reference executions are left out.

    trial_id, cell: content hashes. group: number of the group in the order of the suite; group_label, label: short
    texts that tell groups and the cells of a group apart; main and options: the label in two parts (`fsdp bf16`,
    `reshard_after_forward=false`). is_baseline. strategy: registered name; strategy_label: with options. seed,
    repeat, status, reason, phase. parity: passed, failed, unchecked or None. steady: warm-up ended steady.
    load_start: load average. record: the Record. Then a column per metric that any record holds, NaN where absent.
    """
    records = [record for record in run.records if record.trial.kind == "measure"]
    groups = _groups(run.info, records)
    labels = _labels(run.info, {record.trial.cell: record.trial for record in records}, groups)
    rows = [_row(run.info, record, groups[record.trial.cell], labels[record.trial.cell]) for record in records]
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    frame = pd.DataFrame(rows, columns=list(FIXED_COLUMNS))
    measured = pd.DataFrame([record.metrics for record in records], columns=names, dtype=float, index=frame.index)
    return pd.concat([frame, measured], axis=1)


def steps_frame(run: StoredRun, trials: pd.DataFrame) -> pd.DataFrame:
    """One row per step of the trials given: trial_id, step, timed, loss, grad_norm, lr, step_s, cpu_s, train_s.

    train_s: training seconds up to and including the step, the sum of step_s; NaN from the first missing step on.
    Columns that no trial holds are NaN.
    """
    wanted = ["trial_id", "step", "timed", "loss", "grad_norm", "lr", "step_s", "cpu_s", "train_s"]
    parts = []
    for trial_id in trials["trial_id"]:
        series = run.series.get(trial_id)
        if series is None or not series.columns:
            continue
        part = pd.DataFrame({name: pd.Series(values, dtype=float) for name, values in series.columns.items()})
        part["trial_id"] = trial_id
        if "step" not in part:
            part["step"] = range(1, len(part) + 1)
        if "step_s" in part:
            part["train_s"] = part["step_s"].cumsum(skipna=False)
        parts.append(part.reindex(columns=wanted))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=wanted)


def setting(trial: Trial, key: str) -> Any:
    """What the trial has for a key of a suite; `max` where the micro-batch was searched for, whatever was found."""
    if key == "micro_batch" and trial.among:
        return "max"
    return getattr(trial, OF_TRIAL.get(key, key))


def setting_text(key: str, value: Any) -> str:
    """A setting as short text: choices by their label, numbers with their key."""
    if isinstance(value, (Choice, Recipe)):
        return value.label
    if isinstance(value, (tuple, list)):
        return " + ".join(setting_text(key, part) for part in value)
    if key in BATCHES and value is None:
        return ""
    if key == "devices":
        return count(value, "device")
    return str(value) if key in ("workload", "size", "device") else f"{key} {'found' if value is None else value}"


def compared_keys(info: RunInfo) -> list[str]:
    """Keys in which the cells of a group differ, in the order of a suite; the baseline's where none are stored."""
    keys = info.compared_keys or list(info.baseline)
    return [key for key in AXES if key in keys]


def _group_keys(info: RunInfo) -> list[str]:
    compared = compared_keys(info)
    return [key for key in AXES if key not in compared] if compared else ["workload", "size"]


def _groups(info: RunInfo, records: Sequence[Record]) -> dict[str, tuple[int, str]]:
    """By cell: number and label of its group."""
    keys = _group_keys(info)
    of_cell = {record.trial.cell: _texts(keys, record.trial) for record in records}
    numbers = {texts: number for number, texts in enumerate(_in_order(info, keys, set(of_cell.values())))}
    labels = dict(zip(numbers, _group_labels(keys, list(numbers)), strict=True))
    return {cell: (numbers[texts], labels[texts]) for cell, texts in of_cell.items()}


def _in_order(info: RunInfo, keys: Sequence[str], groups: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Groups as the suite names their workloads and sizes (trials are shuffled), and of these by number and name."""
    suite = info.suite
    grid, fixed = suite.get("grid") or {}, suite.get("fixed") or {}
    tables = [*(suite.get("case") or []), grid, fixed, *(suite.get("include") or [])]
    written: dict[str, list[str]] = {}
    for key in ("workload", "size"):
        values = [table[key] for table in tables if key in table]
        each = [one for value in values for one in (value if isinstance(value, list) else [value])]
        written[key] = [Choice.model_validate(one).label if isinstance(one, dict) else str(one) for one in each]

    def place(texts: tuple[str, ...]) -> list[tuple[int, bool, list[str | int]]]:
        named = zip(keys, texts, strict=True)
        return [(_position(text, written.get(key, [])), not text, natural(text)) for key, text in named]

    return sorted(groups, key=place)


def _position(text: str, among: Sequence[str]) -> int:
    return among.index(text) if text in among else len(among)


def natural(text: str) -> list[str | int]:
    """To sort by: numbers in a text by their value, `2 devices` before `16 devices`."""
    return [int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]+)", text))]


def _texts(keys: Iterable[str], trial: Trial) -> tuple[str, ...]:
    """What a group has in common. A batch given per device stands for the global one, which grows with the devices."""
    per_device = trial.batch_per_device is not None
    return tuple("" if per_device and key == "global_batch" else setting_text(key, setting(trial, key)) for key in keys)


def _group_labels(keys: Sequence[str], groups: Sequence[tuple[str, ...]]) -> list[str]:
    """`gpt/nano`, and of the other keys those in which groups of the same workload and size differ."""
    name_at = [index for index, key in enumerate(keys) if key in ("workload", "size")]
    name = ["/".join(group[index] for index in name_at) or "all cells" for group in groups]
    alike = defaultdict(list)
    for group, label in zip(groups, name, strict=True):
        alike[label].append(group)
    labels = []
    for group, label in zip(groups, name, strict=True):
        differing = [
            text
            for index, text in enumerate(group)
            if index not in name_at and text and len({other[index] for other in alike[label]}) > 1
        ]
        labels.append(", ".join([label, *(_in_words(text) for text in differing)]))
    return labels


def _in_words(text: str) -> str:
    """A setting with its key in words: `global batch 64`, `micro-batch max`."""
    for key in BATCHES:
        text = text.replace(key, key.replace("micro_batch", "micro-batch").replace("_", " "))
    return text


def _labels(
    info: RunInfo, trials: Mapping[str, Trial], groups: Mapping[str, tuple[int, str]]
) -> dict[str, tuple[str, str]]:
    """By cell: its label in two parts, without options that most recipes share, where cells stay apart."""
    shared = shared_by_recipes(trial.recipe for trial in trials.values())
    for left_out in (shared, {}):
        labels = {cell: cell_label(info, trial, left_out) for cell, trial in trials.items()}
        if len({(groups[cell][0], label) for cell, label in labels.items()}) == len(trials):
            break
    return labels


def shared_by_recipes(recipes: Iterable[Recipe]) -> dict[str, dict[str, object]]:
    """By key of a recipe: options of its choices that more than half of the recipes share, rates left out."""
    distinct = list(dict.fromkeys(recipe.model_copy(update={"lr": None}) for recipe in recipes))
    found = {key: shared_options(distinct, key) for key in differing(distinct)}
    return {key: options for key, options in found.items() if options}


def _row(info: RunInfo, record: Record, group: tuple[int, str], label: tuple[str, str]) -> list[Any]:
    trial = record.trial
    main, options = label
    return [
        *(trial.id, trial.cell, *group, f"{main} ({options})" if options else main, main, options),
        *(is_baseline(info, trial), trial.strategy.name, trial.strategy.label, trial.precision.label),
        *(setting_text("techniques", trial.techniques), trial.recipe.label, trial.seed, trial.repeat),
        *(record.status.value, record.reason, record.phase.value),
        *(record.parity.status if record.parity else None, record.warmup.steady if record.warmup else None),
        *(record.load[0] if record.load else None, record),
    ]


def cell_label(
    info: RunInfo, trial: Trial, shared: Mapping[str, Mapping[str, object]] | None = None
) -> tuple[str, str]:
    """What tells the cell from others of its group: names (`fsdp bf16`) and options (`reshard_after_forward=false`).

    A micro-batch that was searched for is always told (`micro_batch max → 64`): it differs between the cells.
    shared: by key of a recipe, options to leave out (see `shared_by_recipes`).
    """
    names: list[str] = []
    options = [setting_text("micro_batch", trial.micro_batch_text)] if trial.among else []
    for key in compared_keys(info) or ("strategy", "precision"):
        value = setting(trial, key)
        if key == "micro_batch" and trial.among:
            continue
        if isinstance(value, Recipe):
            value, numbers = _told_apart(info, _left_out(value, shared or {}))
            options += numbers
        choices = [value] if isinstance(value, Choice) else list(value) if isinstance(value, tuple) else []
        names += (
            [choice.name for choice in choices]
            if choices or key in ("techniques", "recipe")
            else [setting_text(key, value)]
        )
        options += [choice.label[len(choice.name) + 1 : -1] for choice in choices if choice.options]
    if not names and options and "recipe" in compared_keys(info):
        return ", ".join(options), ""  # recipes that differ in numbers only
    return " ".join(names) or "plain", ", ".join(options)


def _left_out(recipe: Recipe, shared: Mapping[str, Mapping[str, object]]) -> Recipe:
    own = {key: choice for key in shared if isinstance(choice := getattr(recipe, key), Choice)}
    update = {key: Choice(name=choice.name, options=without(choice, shared[key])) for key, choice in own.items()}
    return recipe.model_copy(update=update)


def _told_apart(info: RunInfo, recipe: Recipe) -> tuple[tuple[Choice, ...], list[str]]:
    """Of a recipe what the suite gives somewhere beside `fixed`: choices, and the rest as text; all if it is open."""
    tables = [info.suite.get("grid") or {}, *(info.suite.get("case") or []), *(info.suite.get("include") or [])]
    given = [found for table in tables if (found := table.get("recipe"))]
    keys = {key for found in given for part in (found if isinstance(found, list) else [found]) for key in part}
    left = {key: value for key, value in recipe if value is not None and (key in keys or not keys)}
    choices = tuple(value for value in left.values() if isinstance(value, Choice))
    without = Choice(name="no regularizers")  # so that the one without any has a name as well
    choices += tuple(each for value in left.values() if isinstance(value, tuple) for each in value or (without,))
    rest = Recipe(**{key: value for key, value in left.items() if not isinstance(value, Choice | tuple)}).label
    return choices, [rest] if rest else []


def is_baseline(info: RunInfo, trial: Trial) -> bool:
    """Whether the trial has the baseline's value for every key that the baseline names."""
    return bool(info.baseline) and all(_equal(value, setting(trial, key)) for key, value in info.baseline.items())


def _equal(asked: Any, found: Any) -> bool:
    if isinstance(found, Choice):
        return Choice.model_validate(asked).label == found.label
    if isinstance(found, Recipe):
        given = {name: value for name, value in Recipe.model_validate(asked) if value is not None}
        return all(getattr(found, name) == value for name, value in given.items())
    if isinstance(found, tuple):
        parts = asked if isinstance(asked, (list, tuple)) else [asked]
        return [Choice.model_validate(part).label for part in parts] == [choice.label for choice in found]
    return asked == "auto" or bool(asked == found)
