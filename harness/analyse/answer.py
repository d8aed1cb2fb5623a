"""The answer in sentences, one per group: what is fastest, by how much, how sure, at what memory, and what failed.

Every sentence is derived from the ratios, and none claims more than they show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from harness.analyse.cells import MEMORY, SPEED, Cell
from harness.analyse.headline import ENDING, Answer, Part, Parts, sentence
from harness.analyse.leads import lead
from harness.analyse.learned_answer import learned
from harness.analyse.learning import STATE, Learning
from harness.analyse.quantity import SPACE, between, count, digits, duration, listed, rate, size, times
from harness.analyse.ratios import PRACTICAL, log_ratios, ranked, ratio_of_logs
from harness.analyse.study import Group, Study
from harness.schema.record import RunInfo

SAME_LEARNING = 0.02
"""Held-out values within this share of their mean are called the same."""
ALIKE = 0.002
"""Held-out values within this share of their mean are not drawn: one could not tell one from another."""


def answers(study: Study) -> list[Answer]:
    """One answer per group, in the order of the suite."""
    return [answer(study.run.info, group) for group in study.groups]


def answer(info: RunInfo, group: Group) -> Answer:
    """What the cells of a group say about the question."""
    if group.learning is not None:
        headline, settled, details = learned(group.learning)
        rest = [
            _speed(group, group.learning),
            *(_least_memory(group) for _ in group.cells[1:2]),
            _failed(group),
            _not_run(group),
        ]
        return Answer(group.label, group.place, headline, (*details, *(text for text in rest if text)), settled)
    headline, settled = _headline(group)
    first, details = lead(info, group), [_ties(group)]
    if first is not None:  # the suite asks something else first
        details = [sentence(headline), *details] if first.speed else details
        headline, settled = first.headline, first.settled
    details += [_least_memory(group), _learning(group), _failed(group), _not_run(group)]
    return Answer(group.label, group.place, headline, tuple(text for text in details if text), settled)


def in_figures(cell: Cell) -> str:
    """A cell's throughput against the baseline: `1.62× [1.55, 1.70]`; empty where there is no ratio."""
    return f"{times(cell.ratio.value)} {between(cell.ratio.low, cell.ratio.high)}".strip() if cell.ratio else ""


def _headline(group: Group) -> tuple[Parts, bool]:
    ranking, baseline = group.ranking, group.baseline
    if not ranking:
        how = sum((Counter(cell.endings) for cell in group.cells), Counter[str]())
        said = listed([f"{ENDING.get(status, status)} {number}×" for status, number in how.most_common()])
        return (Part("no trial ended well", True), Part(f", so nothing can be said about speed ({said}).")), False
    best = ranking[0]
    if baseline is None or baseline.speed is None:
        why = f"the baseline {baseline.label} has none" if baseline else "no baseline cell is in this group"
        text = f" has the highest throughput, {_rate(group, best)}; {why}, so there is no ratio."
        return (Part(best.label, True), Part(text)), False
    if len(ranking) == 1:
        return (Part("only "), Part(best.label, True), Part(f" was measured: {_figures(group, best)}.")), False
    return _nothing_faster(best, ranking[1]) if best.is_baseline else _best_against(group, best, baseline)


def _nothing_faster(baseline: Cell, second: Cell) -> tuple[Parts, bool]:
    text = f"; the nearest, {second.label}, is {in_figures(second)} ({second.verdict})."
    return (Part("nothing is faster than the baseline "), Part(baseline.label, True), Part(text)), (
        second.verdict in ("slower", "no difference shown")
    )


def _best_against(group: Group, best: Cell, baseline: Cell) -> tuple[Parts, bool]:
    ratio = best.ratio
    if ratio is None:
        text = f" has the highest throughput, but no round in common with {baseline.label}: there is no ratio."
        return (Part(best.label, True), Part(text)), False
    name, figure, cost = Part(best.label, True), Part(times(ratio.value), True), _cost(group, best, baseline)
    if ratio.low is None:
        tail = f" {baseline.label} in the one round there is{cost}: without a second one nothing is shown."
        return (name, Part(" ran at "), figure, Part(tail)), False
    at = f" {baseline.label} {between(ratio.low, ratio.high)} over {count(ratio.rounds, 'round')}{cost}"
    if best.verdict == "faster":
        return (name, Part(" is "), figure, Part(f"{at}.")), True
    if best.verdict == "no difference shown":
        start = (Part("no difference shown", True), Part(": the fastest, "))
        return (*start, name, Part(", is "), figure, Part(f"{at}.")), True
    return (Part("undecided", True), Part(": "), name, Part(" ran at "), figure, Part(f"{at}; {best.why}.")), False


def _speed(group: Group, found: Learning) -> str:
    """What a step takes and an optimizer keeps, of each recipe at its best rate, beside what is learned."""
    known = [(each.short or each.label, each.best.cell) for each in found.known if each.best is not None]
    known = [(name, cell) for name, cell in known if "step_s" in cell.metrics]
    if not known:
        return ""
    if len(known) == 1:
        return f"Speed: {_figures(group, known[0][1])}."
    step = _ends([(cell.metrics["step_s"], name) for name, cell in known], duration)
    states = [(cell.metrics[STATE], name) for name, cell in known if STATE in cell.metrics]
    state = f" State of the optimizer: {_ends(states, size)}." if states else ""
    return f"At its best rate a step takes {step}.{state}"


def _ends(figures: Sequence[tuple[float, str]], say: Callable[[float], str]) -> str:
    """The least and the most with whose they are; one figure where they differ by less than 1 %."""
    (least, whose), (most, other) = min(figures), max(figures)
    if most <= (1 + PRACTICAL) * least:
        return say(most)
    return f"{say(least)} ({whose}) to {say(most)} ({other})"


def _cost(group: Group, cell: Cell, baseline: Cell) -> str:
    """Memory and learning beside the speed. Parity sees the first steps only: held-out results have the last word."""
    memory = f" at {times(cell.memory)} memory" if cell.memory is not None else ""
    found = group.held_out
    if found is not None and {cell.cell, baseline.cell} <= found.values.keys():
        own, its = found.values[cell.cell], found.values[baseline.cell]
        if abs(own - its) > SAME_LEARNING * max(abs(own), abs(its)):
            return f"{memory}, held-out {found.name} {digits(own)} against {digits(its)}"
    same = ", same loss" if group.same_batch else ""  # else each is right for its own batch
    return memory + {"passed": same, "unchecked": ", loss unchecked"}.get(cell.parity, "")


def _rate(group: Group, cell: Cell) -> str:
    return rate(cell.metrics[group.rate], group.unit)


def _figures(group: Group, cell: Cell) -> str:
    memory = f", {size(cell.metrics[MEMORY])} of tensors at the peak" if MEMORY in cell.metrics else ""
    return _rate(group, cell) + memory


def ties(group: Group) -> list[tuple[str, float]]:
    """Cells that are not shown to be slower than the fastest, with their throughput relative to it.

    Compared with the fastest itself, round by round: their intervals against the baseline say nothing about it.
    """
    if len(group.ranking) < 2:
        return []
    logs, found = log_ratios(ranked(group.trials), group.ranking[0].cell, SPEED), []
    for cell in group.ranking[1:]:
        known = logs[cell.cell].dropna().to_numpy(float)
        ratio = ratio_of_logs(known) if len(known) else None
        if ratio is not None and ratio.high is not None and ratio.high >= 1:
            found.append((cell.label, ratio.value))
    return found


def _ties(group: Group) -> str:
    found = ties(group)
    names = listed([f"{label} ({times(ratio)} of it)" for label, ratio in found], most=4)
    return f"Not shown to be slower than the fastest: {names}." if found else ""


def same_memory(cells: Sequence[Cell]) -> bool:
    """Whether peak memory differs by less than 1 % between cells that have it."""
    used = [cell.metrics[MEMORY] for cell in cells]
    return len(used) > 1 and max(used) <= (1 + PRACTICAL) * min(used)


def _least_memory(group: Group) -> str:
    known = group.with_metric(MEMORY)
    if len(known) < 2:
        return ""
    least = min(known, key=lambda cell: cell.metrics[MEMORY])
    if same_memory(known):
        return f"All cells need the same memory: {size(least.metrics[MEMORY])} of tensors per device."
    if least.memory is not None and least.memory >= 1 - PRACTICAL and group.baseline is not None:
        its = size(group.baseline.metrics[MEMORY])
        return f"No cell needs less memory than the baseline by 1{SPACE}% or more: {its} of tensors per device."
    against = f", {times(least.memory)} the baseline" if least.memory is not None and not least.is_baseline else ""
    fast = against and least.speed is not None and group.learning is None
    speed = f", at {times(least.speed or 1.0)} its speed" if fast else ""
    return f"Least memory: {least.label} with {size(least.metrics[MEMORY])} of tensors per device{against}{speed}."


def _learning(group: Group) -> str:
    parity = Counter(cell.parity for cell in group.cells if cell.ok)
    texts: list[str] = []
    if parity["passed"]:
        texts.append(f"{count(parity['passed'], 'cell')} passed parity with one process in fp32")
    if parity["unchecked"]:
        texts.append(f"{count(parity['unchecked'], 'cell')} could not be checked")
    checked = f"{', '.join(texts)}." if texts else ""
    return " ".join(part for part in (checked, held_out_in_words(group)) if part)


def all_alike(group: Group) -> bool:
    """Whether held-out values of the group's cells are so near one another that a picture of them shows nothing."""
    found = group.held_out
    return found is not None and len(found.values) > 1 and found.spread <= ALIKE


def held_out_in_words(group: Group) -> str:
    """What cells reached on held-out data, in a sentence; empty where nothing was evaluated."""
    found = group.held_out
    if found is None:
        return ""
    values = found.values
    low, high, where = min(values.values()), max(values.values()), f"after {count(found.step, 'step')}"
    if len(values) == 1:
        return f"Held-out {found.name} {where}: {digits(low, 4)}."
    if found.spread <= SAME_LEARNING:
        least, most = digits(low, 4), digits(high, 4)
        same = f"the same for all: {least}" if least == most else f"nearly the same for all: {least} to {most}"
        return f"Held-out {found.name} {where} is {same}."
    best, worst = (high, low) if found.higher else (low, high)
    label = group.named(found.best).label
    return f"Learned best: {label}, held-out {found.name} {digits(best)} {where}; the worst reached {digits(worst)}."


def _failed(group: Group) -> str:
    texts = [
        f"{cell.label} ({ENDING.get(status, status)} in {number} of {count(cell.rounds, 'round')})"
        for cell in group.cells
        for status, number in cell.endings.items()
        if status != "UNSUPPORTED" and not (status == "DIVERGED" and group.learning)  # told there with its step
    ]
    return f"Did not end well: {listed(texts)}." if texts else ""


def _not_run(group: Group) -> str:
    unsupported = group.trials[group.trials["status"] == "UNSUPPORTED"]
    by_reason: dict[str, list[str]] = {}
    for label, reason in zip(unsupported["label"], unsupported["reason"], strict=True):
        by_reason.setdefault(str(reason or "no reason given").rstrip("."), []).append(str(label))
    texts = [f"{listed(list(dict.fromkeys(labels)))}: {reason}" for reason, labels in by_reason.items()]
    return f"Not run: {'; '.join(texts)}." if texts else ""
