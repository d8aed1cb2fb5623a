"""The answer of a group that is about learning: which recipe learns best, at which rate, how sure, and how soon.

Nothing is called better on fewer than 3 seeds, and `learns best` is said only where every other family is shown worse.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.families import NEAR, Family, Rung
from harness.analyse.headline import Part, Parts
from harness.analyse.learning import Learning, at_rate
from harness.analyse.paired import Paired, mean_interval
from harness.analyse.quantity import SPACE, count, digits, listed
from harness.analyse.ratios import ROUNDS_AT_LEAST
from harness.analyse.target import in_words, target_text

Said = tuple[Parts, bool, list[str]]


def learned(found: Learning) -> Said:
    """Headline, whether it is settled, and further sentences."""
    headline, settled = _of_workload(found) if found.kind == "workload" else _of_recipes(found)
    details = [_ties(found), _target(found), _rates(found), _gaps(found), _trivial(found)]
    details += [_stopped(found), _diverged(found)]
    return headline, settled, [text for text in details if text]


def named(found: Learning, family: Family) -> str:
    """`adamw at lr 0.003`; without the rate where it is the same for all."""
    if family.best is None or "lr" not in found.keys:
        return family.label
    rate = at_rate(family.best)
    return rate if family.label == rate else f"{family.label} at {rate}"


def value_text(values: Sequence[float], higher: bool = False) -> str:
    """Mean over seeds with its interval: `1.52 [1.50, 1.54]`."""
    return f"{digits(mean_interval(values).value)} {interval_text(values, higher)}".rstrip()


def interval_text(values: Sequence[float], higher: bool = False) -> str:
    """The 95 % interval over seeds: `[1.50, 1.54]`; nothing with one. Shares of one, such as accuracies, end at 1."""
    found = mean_interval(values)
    if found.low is None or found.high is None or found.low == found.high:
        return ""
    high = min(found.high, 1.0) if higher and max(values) <= 1 else found.high
    return f"[{digits(found.low)}, {digits(high)}]"


def _held_out(found: Learning, values: Sequence[float]) -> str:
    where = f"after {count(found.step or 0, 'step')} over {count(len(values), 'seed')}"
    return f"held-out {found.name} {value_text(values, found.higher)} {where}"


def _of_recipes(found: Learning) -> tuple[Parts, bool]:
    known = found.known
    if not known:
        return (Part("no trial ended well", True), Part(", so nothing can be said about what is learned.")), False
    best, base = known[0], found.baseline
    name = Part(f"{named(found, best)}{f' (the {best.edge} tried)' if best.edge else ''}", True)
    if len(known) == 1:
        return (Part("only "), name, Part(f" was evaluated: {_held_out(found, _finals(best))}.")), False
    other = known[1] if base is best or base is None or base.best is None else base
    pair = found.rivals.get(other.label)
    if pair is None:
        text = f" reached the best, {_held_out(found, _finals(best))}, but has no seed in common with {other.label}."
        return (name, Part(text)), False
    whose = _whose(other) if other.is_baseline else ""
    against = f"{digits(mean_interval(pair.own).value)} of {whose}{named(found, other)}"
    reached = f"{_held_out(found, pair.base)}, against {against}"
    if pair.seeds < ROUNDS_AT_LEAST:
        text = f" reached the best, {reached}: nothing is called better on fewer than {ROUNDS_AT_LEAST} seeds."
        return (Part("undecided", True), Part(": "), name, Part(text)), False
    reached += _soon(found, best)
    if not found.ties:
        start = () if base is not best else (Part(_whose(best)),)
        return (*start, name, Part(f" learns best: {reached}.")), True
    if base is best:
        settled = all(each.verdict in ("worse", "no difference shown") for each in found.rivals.values())
        text = f": {reached} ({pair.verdict})."
        return (Part(f"nothing is shown to learn better than {_whose(best)}"), name, Part(text)), settled
    return _against_baseline(found, name, reached, pair, other)


def _against_baseline(found: Learning, name: Part, reached: str, pair: Paired, other: Family) -> tuple[Parts, bool]:
    """The best family is not shown better than all: what is shown against the baseline (or the nearest without one)."""
    seen = found.against.get(found.known[0].label)
    verdict, why = (seen.verdict, seen.why) if seen else (pair.verdict, pair.why)
    whose = _whose(other) if other.is_baseline else ""
    if verdict == "better":
        return (name, Part(f" learns better than {whose.rstrip() or other.label}: {reached}.")), True
    if verdict == "no difference shown":
        return (Part("no difference shown", True), Part(": the best, "), name, Part(f", reached {reached}.")), True
    return (Part("undecided", True), Part(": "), name, Part(f" reached {reached}; {why}.")), False


def _whose(family: Family) -> str:
    """Its best rate need not be the one that the baseline names."""
    return "the baseline " if family.best and family.best.cell.is_baseline else "the baseline's recipe "


def _finals(family: Family) -> list[float]:
    return list(family.best.finals.values()) if family.best else []


def _soon(found: Learning, family: Family) -> str:
    """When the best reached the target, where it did."""
    at = family.best.reach if family.best else None
    return f"; it reaches {found.target:g} after {in_words(at)}" if at is not None and at.steps else ""


def _of_workload(found: Learning) -> tuple[Parts, bool]:
    family = found.families[0]
    if family.best is None:
        return (Part("no trial ended well", True), Part(", so nothing can be said about what is learned.")), False
    held_out, at = _held_out(found, _finals(family)), family.best.reach
    if at is None:
        return (Part("only "), Part(family.label, True), Part(f" was evaluated: {held_out}.")), False
    target = f" ({target_text(found.name, at.target)})"
    if at.all:
        return (Part("reached its target", True), Part(f"{target} after {in_words(at)}: {held_out}.")), True
    if at.steps:
        some = f"reached its target in {len(at.steps)} of {count(at.seeds, 'seed')} only"
        return (Part(some, True), Part(f"{target}: after {in_words(at, counted=False)}; {held_out}.")), False
    return (Part("did not reach its target", True), Part(f"{target}: {in_words(at)}, {held_out}.")), False


def _ties(found: Learning) -> str:
    if found.kind == "workload" or not found.ties:
        return ""
    told = [f"{named(found, family)} ({_rival(found.rivals.get(family.label))})" for family in found.ties]
    return f"Not shown to learn worse than {found.known[0].label}: {listed(told, most=5)}."


def _rival(pair: Paired | None) -> str:
    return f"{pair.in_figures}, {pair.verdict}" if pair else "no seed in common"


def _target(found: Learning) -> str:
    """First to the target, and who did not reach it in every seed."""
    if found.kind == "workload" or found.target is None or not found.known:
        return ""
    first, told = found.first, []
    target = target_text(found.name, found.target)
    if first is not None and first is not found.known[0] and first.best is not None and first.best.reach is not None:
        told.append(f"First to the target, {target}, in seconds: {named(found, first)}, {in_words(first.best.reach)}")
    missed = [family for family in found.known if family.best and family.best.reach and not family.best.reach.all]
    if len(missed) == len(found.known):
        told.append(f"No recipe reached the target, {target}, in every seed")
    elif missed:
        texts = [_missed(found, family) for family in missed]
        told.append(f"The target, {target}, was not reached in every seed by {listed(texts, most=5)}")
    return f"{'. '.join(told)}." if told else ""


def _missed(found: Learning, family: Family) -> str:
    at = family.best.reach if family.best else None
    return f"{named(found, family)} ({at.of_seeds if at else ''})"


def _rates(found: Learning) -> str:
    known = [family for family in found.known if family.near is not None]
    if len(known) < 2:
        return ""
    widest, narrowest = (which(known, key=_width) for which in (max, min))
    near = f"within {round(100 * NEAR)}{SPACE}% of its best"
    if _width(widest) == 1:
        return (
            f"No recipe has a second rate {near}: the steps of the ladder are wide, or all are sensitive to the rate."
        )
    if _width(widest) == _width(narrowest):
        return f"Sensitivity to the learning rate: each recipe has rates {near} that differ by {widest.sensitivity}."
    told = f"{widest.label} ({widest.sensitivity} between rates {near})"
    return f"Least sensitive to the learning rate: {told}; most: {narrowest.label} ({narrowest.sensitivity})."


def _width(family: Family) -> float:
    near = family.near
    return near[1] / near[0] if near else 0.0


def _gaps(found: Learning) -> str:
    known = [(gap.value, family) for family in found.known if family.best and (gap := family.best.gap)]
    if not known:
        return ""
    least, most = (which(known, key=lambda pair: pair[0]) for which in (min, max))
    easier = " (below 0: held-out samples are the easier ones)" if least[0] < 0 else ""
    start = f"Generalisation gap, how much worse {found.name} is on held-out samples than on training samples{easier}"
    if len(known) == 1:
        return f"{start}: {digits(least[0], 2)}."
    if digits(least[0], 2) == digits(most[0], 2):
        return f"{start}: {digits(least[0], 2)} in all."
    return f"{start}: least {digits(least[0], 2)} ({least[1].label}), most {digits(most[0], 2)} ({most[1].label})."


def better_than_trivial(found: Learning, rung: Rung) -> bool:
    """Whether the mean is better than what every predictor that learned nothing reaches."""
    trivial = found.trivial.values()
    return all(rung.mean > value if found.higher else rung.mean < value for value in trivial)


def trivial_text(found: Learning) -> str:
    """`majority 0.10, nearest 0.40`."""
    return ", ".join(f"{name.replace('_', ' ')} {digits(value)}" for name, value in found.trivial.items())


def _trivial(found: Learning) -> str:
    if not found.trivial:
        return ""
    idle = [named(found, each) for each in found.known if each.best and not better_than_trivial(found, each.best)]
    than = "all of these" if len(found.trivial) > 1 else "that"
    whose = "" if found.kind == "workload" else f": {listed(idle, most=5)}"
    said = f" Not better than {than}{whose}." if idle else ""
    if idle and found.kind != "workload" and len(idle) == len(found.known) > 1:
        said = f" No recipe is better than {than}."
    return f"Without learning: {trivial_text(found)}.{said}"


def _stopped(found: Learning) -> str:
    rungs = [(family, family.best) for family in found.known if family.best and family.best.stops]
    told = [
        f"{named(found, family)} in {len(rung.stops)} of {count(rung.seeds, 'seed')}, "
        f"at step {listed([str(step) for step in sorted(set(rung.stops.values()))], most=4)}"
        for family, rung in rungs
    ]
    return f"Stopped early, its best value counts: {listed(told, most=4)}." if told else ""


def _diverged(found: Learning) -> str:
    told = []
    for family in found.families:
        for rung in family.rungs:
            if rung.diverged:
                where = f"{family.label} at {at_rate(rung)}" if "lr" in found.keys else family.label
                often = f"{len(rung.diverged)} of {count(rung.seeds, 'seed')}"
                told.append(f"{where} ({often}, first at {_first(rung)})")
    return f"Diverged: {listed(told, most=5)}." if told else ""


def _first(rung: Rung) -> str:
    return min(rung.diverged, key=lambda each: each.step if each.step is not None else 1 << 60).in_words
