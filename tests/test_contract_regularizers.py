"""What every registered regularizer promises. A new one is found by being there and must stand in the tables.

Each is trained with for real and its effect is read back from the live objects; a planted one that does nothing is
seen as NOT_APPLIED.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from harness.measure.regularized_facts import Proof, prove_stop
from harness.recipes.regularized import parts_of, with_regularized_keys
from harness.recipes.regularizers import EarlyStop, Regularizer, registry
from harness.schema.record import Record, Status
from harness.schema.registry import options_of
from harness.schema.suite import Choice, Recipe
from harness.schema.trial import Trial
from harness.workloads import Workload
from harness.workloads import registry as workloads
from tests.conftest import RECIPE, execute, make_trial, plugins

NAMES = [each.name for each in registry.entries() if each.module.startswith("harness.recipes.regularizers.")]
each_regularizer = pytest.mark.parametrize("name", NAMES)
FILES = plugins("tiny", "faults", "no_ops", "regular")

SHORT: dict[str, Any] = {"warmup_steps": 5, "steps": 3}
STOPS: dict[str, Any] = {"warmup_steps": 6, "steps": 18, "eval_every": 3}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "clipping": ({"norm": 0.1}, SHORT, {"clipped_norm"}),
    "dropout": ({"rate": 0.3}, {**SHORT, "warmup_steps": 6}, {"dropout_rate", "random_masks"}),
    "early_stopping": ({"patience": 1, "min_delta": 0.5}, STOPS, {"stopped_early"}),
    "ema": ({"decay": 0.9}, SHORT, {"average_differs_from_weights"}),
    "l1": ({"weight": 1e-3}, SHORT, {"penalty_in_gradient"}),
    "l2": ({"weight": 1e-2}, SHORT, {"penalty_in_gradient"}),
    "label_smoothing": ({"amount": 0.2}, SHORT, {"label_smoothing"}),
    "mixup": ({"alpha": 0.4}, SHORT, {"mixing_drawn", "mixed_samples"}),
    "stochastic_depth": ({"rate": 0.3}, SHORT, {"stochastic_depth_rate", "random_masks"}),
    "weight_decay": ({"decay": 0.2}, SHORT, {"weight_decay"}),
}
"""name → options, changes of the trial, and the facts that prove it"""

Planted = tuple[Any, dict[str, Any], str]
WITHOUT = {"name": "regular", "holds": False}
UNUSED = {"name": "regular", "applies": False}
UNSMOOTHED = {"name": "regular", "smooths": False}
NO_OPS: dict[str, list[Planted]] = {
    "clipping": [("clips_nothing", SHORT, "clipped_norm: asked 0 to 0.0")],
    "dropout": [
        ("dropout", {**SHORT, "workload": WITHOUT}, "dropout_rate: asked 0.1, found 0"),
        ("dropout", {**SHORT, "workload": UNUSED}, "random_masks: asked True, found False"),
    ],
    "early_stopping": [("never_stops", STOPS, "stopped_early: asked True, found False")],
    "ema": [("averages_nothing", SHORT, "average_differs_from_weights: asked True, found False")],
    "l1": [("penalises_nothing", SHORT, "penalty_in_gradient: asked 0.98 to 1.02, found 0")],
    "l2": [("penalises_twice", SHORT, "penalty_in_gradient: asked 0.98 to 1.02, found 2")],
    "label_smoothing": [
        ("label_smoothing", {**SHORT, "workload": UNSMOOTHED}, "label_smoothing: asked 0.1, found 0"),
    ],
    "mixup": [
        ("mixes_with_itself", SHORT, "mixing_drawn: asked 0.01 to 1, found 0"),
        ("mixes_nothing", SHORT, "mixing_drawn: asked 0.01 to 1, found 0"),
    ],
    "stochastic_depth": [
        ("stochastic_depth", {**SHORT, "workload": WITHOUT}, "stochastic_depth_rate: asked 0.1, found 0"),
        ("stochastic_depth", {**SHORT, "workload": UNUSED}, "random_masks: asked True, found False"),
    ],
    "weight_decay": [("weight_decay", {**SHORT, "optimizer": "forgets_decay"}, "weight_decay: asked 0.1, found 0")],
}  # fmt: skip
"""name → planted no-ops: regularizer, changes of the trial, what is said of it"""


def trial_with(regularizers: Any, strategy: Any = "single", ranks: int = 1, **changes: Any) -> Trial:
    optimizer = changes.pop("optimizer", "adamw")
    given = RECIPE.model_copy(update={"optimizer": Choice(name=optimizer)})
    recipe = with_regularized_keys(Recipe.model_validate({"regularizers": regularizers}).over(given))
    asked = {"workload": "regular", "plugins": FILES, **changes}
    return make_trial(strategy, ranks, recipe=recipe, **asked)


def facts_of(record: Record) -> dict[str, Any]:
    return {fact.fact: fact.found for fact in record.applied}


def test_every_regularizer_stands_in_the_tables() -> None:
    assert set(CASES) == set(NO_OPS) == set(NAMES)


@each_regularizer
def test_it_says_what_it_is_and_where_it_is_from(name: str) -> None:
    entry = registry[name]
    assert entry.facts.source.startswith("https://")
    assert len(entry.summary) > 20
    for option in entry.options.values():
        assert option.problem(-1.0, "", option.name) is not None, "every number has a range"
        assert option.problem("much", "", option.name) is not None


@each_regularizer
def test_it_is_pure_and_does_something_by_its_defaults(name: str) -> None:
    one, other = parts_of(Choice(name=name)), parts_of(Choice(name=name, options=CASES[name][0]))
    assert isinstance(one, Regularizer)
    assert one != Regularizer()
    assert other != one, "its options matter"


def test_an_option_without_a_range_would_be_noticed() -> None:
    def careless(*, weight: float = 1.0) -> Regularizer:
        return Regularizer()

    assert options_of(careless)["weight"].problem(-1.0, "", "weight") is None


def test_planning_with_all_of_them_imports_no_torch() -> None:
    code = """
import sys
from harness.recipes.regularizers import registry
for entry in registry.entries():
    entry.function()
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.processes
@each_regularizer
def test_it_is_applied_and_trains_as_one_process_does(name: str) -> None:
    options, changes, proved = CASES[name]
    record, _series = execute(trial_with([{"name": name, **options}], **changes))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    assert proved <= facts_of(record).keys()


@pytest.mark.processes
@pytest.mark.parametrize(("name", "number"), [(name, i) for name in NO_OPS for i in range(len(NO_OPS[name]))])
def test_one_that_does_nothing_is_not_applied(name: str, number: int) -> None:
    planted, changes, message = NO_OPS[name][number]
    record, _series = execute(trial_with([planted], **changes), parity=False)
    assert record.status is Status.NOT_APPLIED
    assert message in (record.reason or "")


def test_early_stopping_is_proved_by_its_definition_and_not_by_itself() -> None:
    falling, rising = [0.5, 0.6, 0.6, 0.59], [0.5, 0.6, 0.7, 0.8]
    for values, better, due in ((falling, "higher", True), (rising, "higher", False), (rising, "lower", True)):
        rule, proof = EarlyStop(2), Proof()
        assert rule.due(values, better) is due
        prove_stop(proof, rule, values, better, due)
        assert proof.asked == proof.found
    assert not EarlyStop(2).due([], "lower")
    assert EarlyStop(1, 0.2).best([1.0, 0.9, 0.7], "lower") == 2
    assert EarlyStop(1, 0.2).best([1.0, 0.9, 0.85], "lower") == 0


# Workloads: what planning is told of them must be so

WORKLOADS = [each.name for each in workloads.entries() if each.module.startswith("harness.workloads.")]
SETS = ("dropout", "stochastic_depth", "label_smoothing")


@cache
def built(name: str, **options: Any) -> Workload:
    entry = workloads[name]
    workload: Workload = entry.function(next(iter(entry.facts.sizes)), **options)
    return workload


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_classes_where_its_facts_say_so(name: str) -> None:
    assert ("classes" in workloads[name].facts.model.traits) == (built(name).classes > 0)


def takes_probabilities(workload: Workload) -> bool:
    """Whether the loss of one-hot probabilities is that of indices, and of half and half the mean of the two."""
    torch.manual_seed(0)
    model = workload.build().eval()
    inputs, labels = (tensor[:4] for tensor in workload.train)
    others = (labels + 1) % workload.classes
    one, other = (functional.one_hot(each, workload.classes).float() for each in (labels, others))
    with torch.no_grad():
        found = [float(workload.loss(model, (inputs, each))) for each in (labels, others, one, (one + other) / 2)]
    return found[2] == pytest.approx(found[0], rel=1e-5) and found[3] == pytest.approx(
        (found[0] + found[1]) / 2, rel=1e-5
    )


@pytest.mark.parametrize("name", [each for each in WORKLOADS if "classes" in workloads[each].facts.model.traits])
def test_its_loss_takes_probabilities_of_classes(name: str) -> None:
    workload = built(name)
    assert takes_probabilities(workload)

    def hardened(model: Any, batch: Any) -> Any:
        labels = batch[1].argmax(dim=1) if batch[1].ndim == 2 else batch[1]
        return workload.loss(model, (batch[0], labels))

    assert not takes_probabilities(replace(workload, loss=hardened)), "control: the likeliest class in place of both"


@pytest.mark.parametrize(("name", "option"), [(n, o) for n in WORKLOADS for o in SETS if o in workloads[n].options])
def test_options_that_regularizers_set_take_their_ranges_and_change_training_only(name: str, option: str) -> None:
    assert workloads[name].check({option: 0.3}, "", name) == []
    assert workloads[name].check({option: 1.0}, "", name) != []
    plain, regularized = built(name), built(name, **{option: 0.3})
    losses, metrics = [], []
    for workload in (plain, regularized):
        torch.manual_seed(0)
        model = workload.build()
        with torch.no_grad():  # before training, which moves BatchNorm's averages
            metrics.append(workload.evaluate(model.eval(), tuple(tensor[:8] for tensor in workload.held_out)))
        torch.manual_seed(1)
        losses.append(workload.loss(model.train(), tuple(tensor[:32] for tensor in workload.train)).item())
    assert losses[0] != losses[1]
    assert {key: float(value[0]) for key, value in metrics[0].items()} == pytest.approx(
        {key: float(value[0]) for key, value in metrics[1].items()}, rel=1e-6
    )


def test_a_recipe_holds_choices_and_nothing_else() -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({"regularizers": [1]})
    both = Recipe.model_validate({"regularizers": ["l1", {"name": "dropout", "rate": 0.2}]})
    assert both.label == "l1 dropout(rate=0.2)"
    assert Recipe.model_validate_json(both.model_dump_json()) == both
