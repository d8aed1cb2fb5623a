"""What every registered optimizer promises, and options of schedules (their steps: `test_contract_schedules`).

A new one is found by being there and must stand in a table.
Each check is a function that is also run on a planted fault.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from harness.recipes import optimizers, schedules
from harness.recipes.build import decay_groups
from harness.recipes.optimizers import OptimizerFacts
from harness.schema.registry import REQUIRED, Entry
from harness.schema.suite import Recipe

Groups = list[dict[str, Any]]
Made = Callable[[Groups, float], torch.optim.Optimizer]


def built_in(registry: Any, package: str) -> list[str]:
    return [entry.name for entry in registry.entries() if entry.module.startswith(package)]


OPTIMIZERS = built_in(optimizers.registry, "harness.recipes.optimizers")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def needs(name: str) -> None:
    """Skip, and say so, where the optimizer's package is not installed."""
    for package in optimizers.registry[name].facts.requires:
        pytest.importorskip(package, reason=f"{name} needs {package}: {optimizers.registry[name].facts.install}")


# Optimizers against the classes they wrap


def package_class(name: str) -> Any:
    return getattr(importlib.import_module("pytorch_optimizer"), name)


class Pair:
    """Muon and AdamW side by side, each with its own groups, as a person would write it down."""

    def __init__(self, groups: Groups, lr: float, adjust: str, betas: tuple[float, float]):
        hidden = [{**group, "params": list(group["params"])} for group in groups if group.get("hidden")]
        rest = [{**group, "params": list(group["params"])} for group in groups if not group.get("hidden")]
        self.muon = torch.optim.Muon(hidden, lr=lr, adjust_lr_fn=adjust)
        self.adamw = torch.optim.AdamW(rest, lr=lr, betas=betas)

    def step(self) -> None:
        self.muon.step()
        self.adamw.step()

    def zero_grad(self) -> None:
        self.muon.zero_grad()
        self.adamw.zero_grad()


class WithClosure:
    """torch's L-BFGS, called as torch wants it: with a closure that gives the loss of the gradients that are there."""

    def __init__(self, groups: Groups, lr: float, history: int):
        parameters = [parameter for group in groups for parameter in group["params"]]
        self.inner = torch.optim.LBFGS(parameters, lr=lr, max_iter=1, history_size=history)

    def step(self) -> None:
        self.inner.step(lambda: 1.0)

    def zero_grad(self) -> None:
        self.inner.zero_grad()


O = torch.optim  # noqa: E741
CASES: list[tuple[str, dict[str, Any], Callable[[Groups, float], Any]]] = [
    ("sgd", {}, lambda g, lr: O.SGD(g, lr=lr, momentum=0.9)),
    ("sgd", {"momentum": 0.8, "nesterov": True}, lambda g, lr: O.SGD(g, lr=lr, momentum=0.8, nesterov=True)),
    ("sgd", {"momentum": 0.0}, lambda g, lr: O.SGD(g, lr=lr)),
    ("adam", {}, lambda g, lr: O.Adam(g, lr=lr)),
    ("adam", {"amsgrad": True, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6},
     lambda g, lr: O.Adam(g, lr=lr, betas=(0.8, 0.9), eps=1e-6, amsgrad=True)),
    ("adamw", {}, lambda g, lr: O.AdamW(g, lr=lr)),
    ("adamw", {"foreach": True, "beta2": 0.95}, lambda g, lr: O.AdamW(g, lr=lr, betas=(0.9, 0.95), foreach=True)),
    ("nadam", {}, lambda g, lr: O.NAdam(g, lr=lr)),
    ("nadam", {"momentum_decay": 0.01, "decoupled_weight_decay": True},
     lambda g, lr: O.NAdam(g, lr=lr, momentum_decay=0.01, decoupled_weight_decay=True)),
    ("radam", {}, lambda g, lr: O.RAdam(g, lr=lr)),
    ("radam", {"beta2": 0.9, "decoupled_weight_decay": True},
     lambda g, lr: O.RAdam(g, lr=lr, betas=(0.9, 0.9), decoupled_weight_decay=True)),
    ("adamax", {}, lambda g, lr: O.Adamax(g, lr=lr)),
    ("adagrad", {}, lambda g, lr: O.Adagrad(g, lr=lr)),
    ("adagrad", {"initial_accumulator_value": 0.1}, lambda g, lr: O.Adagrad(g, lr=lr, initial_accumulator_value=0.1)),
    ("adadelta", {}, lambda g, lr: O.Adadelta(g, lr=lr)),
    ("adadelta", {"rho": 0.8, "eps": 1e-4}, lambda g, lr: O.Adadelta(g, lr=lr, rho=0.8, eps=1e-4)),
    ("rmsprop", {}, lambda g, lr: O.RMSprop(g, lr=lr)),
    ("rmsprop", {"momentum": 0.5, "centered": True, "alpha": 0.9},
     lambda g, lr: O.RMSprop(g, lr=lr, alpha=0.9, momentum=0.5, centered=True)),
    ("adafactor", {}, lambda g, lr: O.Adafactor(g, lr=lr)),
    ("adafactor", {"eps1": 1e-6, "eps2": 1e-2, "d": 2.0, "beta2_decay": -0.5},
     lambda g, lr: O.Adafactor(g, lr=lr, eps=(1e-6, 1e-2), d=2.0, beta2_decay=-0.5)),
    ("asgd", {}, lambda g, lr: O.ASGD(g, lr=lr)),
    ("asgd", {"t0": 3.0, "lambd": 0.01}, lambda g, lr: O.ASGD(g, lr=lr, t0=3.0, lambd=0.01)),
    ("rprop", {}, lambda g, lr: O.Rprop(g, lr=lr)),
    ("rprop", {"eta_plus": 1.5, "step_max": 0.1},
     lambda g, lr: O.Rprop(g, lr=lr, etas=(0.5, 1.5), step_sizes=(1e-6, 0.1))),
    ("lbfgs", {}, lambda g, lr: WithClosure(g, lr, 10)),
    ("lbfgs", {"history_size": 3}, lambda g, lr: WithClosure(g, lr, 3)),
    ("muon", {}, lambda g, lr: Pair(g, lr, "match_rms_adamw", (0.9, 0.999))),
    ("muon", {"adjust_lr": "original", "beta1": 0.8}, lambda g, lr: Pair(g, lr, "original", (0.8, 0.999))),
    ("lion", {}, lambda g, lr: package_class("Lion")(g, lr=lr)),
    ("lamb", {}, lambda g, lr: package_class("Lamb")(g, lr=lr, weight_decouple=False, adam_debias=True)),
    ("soap", {"precondition_frequency": 2}, lambda g, lr: package_class("SOAP")(g, lr=lr, precondition_frequency=2)),
    ("soap", {"max_precondition_dim": 5}, lambda g, lr: package_class("SOAP")(g, lr=lr, max_precondition_dim=5)),
    ("schedulefree_adamw", {}, lambda g, lr: package_class("ScheduleFreeAdamW")(g, lr=lr)),
]  # fmt: skip
"""name, options, the same written down with the class itself"""

RATES = {"adadelta": 10.0, "rprop": 0.01, "lbfgs": 0.5, "lion": 0.02, "lamb": 0.02, "sgd": 0.02, "muon": 0.05}
each_case = pytest.mark.parametrize(
    ("name", "options", "reference"), CASES, ids=[f"{name}-{'-'.join(map(str, options))}" for name, options, _ in CASES]
)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def decay_of(entry: Entry[OptimizerFacts]) -> float:
    return 0.0 if entry.facts.weight_decay == "none" else 0.1


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3))


def train(model: nn.Module, optimizer: Any, steps: int = 10) -> None:
    """The same batches for every optimizer."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        tokens = torch.randint(11, (16,), generator=generator)
        loss = nn.functional.cross_entropy(model(tokens), tokens % 3)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def made(entry: Entry[OptimizerFacts], model: nn.Module, lr: float, decay: float, **options: Any) -> Any:
    return entry.function(decay_groups(model, decay, entry.facts.splits_hidden), lr, **options)


def differs_from(entry: Entry[OptimizerFacts], options: dict[str, Any], reference: Callable[..., Any]) -> bool:
    """Whether ten steps lead elsewhere than those of the class itself, by a single bit."""
    one, other, lr, decay = network(), network(), RATES.get(entry.name, 0.01), decay_of(entry)
    train(one, made(entry, one, lr, decay, **options))
    train(other, reference(decay_groups(other, decay, entry.facts.splits_hidden), lr))
    return not all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def planted(function: Callable[..., Any], **facts: Any) -> Entry[OptimizerFacts]:
    return Entry("planted", function, OptimizerFacts(**facts), {}, "", "planted")


def test_every_optimizer_stands_in_the_table() -> None:
    assert {name for name, _options, _reference in CASES} == set(OPTIMIZERS)


@each_case
def test_ten_steps_are_bitwise_those_of_the_class(name: str, options: dict[str, Any], reference: Any) -> None:
    needs(name)
    assert not differs_from(optimizers.registry[name], options, reference)


def test_an_optimizer_that_ignores_its_learning_rate_differs() -> None:
    deaf = planted(lambda groups, lr, **options: O.AdamW(groups, lr=0.02, **options))
    assert differs_from(deaf, {}, lambda groups, lr: O.AdamW(groups, lr=lr))


def convex_loss(entry: Entry[OptimizerFacts], steps: int = 60) -> tuple[float, float]:
    """Loss of a least-squares problem before and after; the weights that the optimizer is judged by."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    x = torch.randn(64, 4)
    y = x @ torch.randn(4, 3) + 1.0
    optimizer = made(entry, model, RATES.get(entry.name, 0.05), 0.0)

    def loss() -> Tensor:
        return nn.functional.mse_loss(model(x), y)

    before = loss().item()
    for _ in range(steps):
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    return before, loss().item()


@each_optimizer
def test_it_lowers_the_loss_of_a_convex_problem(name: str) -> None:
    needs(name)
    before, after = convex_loss(optimizers.registry[name])
    assert after < 0.7 * before


class Idle(torch.optim.SGD):
    """Does nothing."""

    def step(self, closure: Any = None) -> None:
        return


def test_an_optimizer_that_does_nothing_lowers_no_loss() -> None:
    before, after = convex_loss(planted(lambda groups, lr: Idle(groups, lr=lr)))
    assert after == before


def numbers_in(value: Any) -> int:
    """Numbers in all tensors with at least one dimension, however deep."""
    if isinstance(value, Tensor):
        return value.numel() if value.ndim else 0
    if isinstance(value, (list, tuple)):
        return sum(map(numbers_in, value))
    return sum(map(numbers_in, value.values())) if isinstance(value, dict) else 0


def state_found_and_told(entry: Entry[OptimizerFacts], options: dict[str, Any]) -> tuple[int, int]:
    model = network()
    optimizer = made(entry, model, RATES.get(entry.name, 0.01), decay_of(entry), **options)
    train(model, optimizer)
    hidden = {id(p) for group in decay_groups(model, 0.1, entry.facts.splits_hidden) if group.get("hidden")
              for p in group["params"]}  # fmt: skip
    told = sum(entry.facts.numbers_kept(p.shape, options, id(p) in hidden) for p in model.parameters())
    return numbers_in(dict(optimizer.state)), told


@each_case
def test_it_keeps_as_much_state_as_it_says(name: str, options: dict[str, Any], reference: Any) -> None:
    needs(name)
    if name == "lbfgs":
        options = {**options, "history_size": 3}  # ten steps fill no longer history
    found, told = state_found_and_told(optimizers.registry[name], options)
    assert found == told


def test_untold_state_is_noticed() -> None:
    found, told = state_found_and_told(planted(lambda groups, lr: O.Adam(groups, lr=lr), state_per_parameter=1), {})
    assert found == 2 * told


@each_optimizer
def test_it_is_of_the_class_it_says_and_its_rate_is_the_schedules(name: str) -> None:
    needs(name)
    optimizer = made(optimizers.registry[name], network(), 0.125, 0.0)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert type(optimizer).__name__ == optimizers.registry[name].facts.class_name
    assert {group["lr"] for group in optimizer.param_groups} == {0.125}
    assert optimizer.defaults["lr"] == 0.125, "ZeRO-1 reads it there"


def after_steps(entry: Entry[OptimizerFacts], lr: float) -> list[Tensor]:
    model = network()
    train(model, made(entry, model, lr, 0.0), steps=3)
    return [parameter.detach() for parameter in model.parameters()]


def heeds_its_rate(entry: Entry[OptimizerFacts]) -> bool:
    """Whether another learning rate leads elsewhere, for every parameter."""
    pairs = zip(after_steps(entry, 0.01), after_steps(entry, 0.02), strict=True)
    return not any(torch.equal(one, other) for one, other in pairs)


@each_optimizer
def test_its_learning_rate_matters(name: str) -> None:
    needs(name)
    assert heeds_its_rate(optimizers.registry[name])


def test_a_deaf_optimizer_is_noticed() -> None:
    assert not heeds_its_rate(planted(lambda groups, lr: O.AdamW(groups, lr=0.01)))


def kind_of_decay(entry: Entry[OptimizerFacts]) -> str:
    """How weight decay acts, found by trying: on weights without gradients, and as an addition to the gradient."""
    lr, decay = 0.01, 0.5

    def moved(gradient: Tensor, weight_decay: float) -> Tensor:
        weight = nn.Parameter(torch.linspace(-1.0, 2.0, 12).reshape(3, 4))
        optimizer = entry.function([{"params": [weight], "weight_decay": weight_decay, "hidden": True}], lr)
        for _ in range(2):  # SOAP's first step makes its bases
            weight.grad = gradient.clone()
            optimizer.step()
        return weight.detach() - torch.linspace(-1.0, 2.0, 12).reshape(3, 4)

    weight, nothing = torch.linspace(-1.0, 2.0, 12).reshape(3, 4), torch.zeros(3, 4)
    idle, alone = moved(nothing, 0.0), moved(nothing, decay)
    if torch.equal(idle, alone):
        return "none"
    shares = ((alone - idle) / weight).flatten()
    if torch.allclose(shares, shares[:1].expand(12), rtol=1e-3) and not same_as_penalty(entry, decay):
        return "decoupled"
    return "coupled" if same_as_penalty(entry, decay) else "neither"


def same_as_penalty(entry: Entry[OptimizerFacts], decay: float) -> bool:
    """Whether one step with weight decay is one whose gradient has decay × weight added."""
    ends = []
    for weight_decay in (decay, 0.0):
        weight = nn.Parameter(torch.linspace(-1.0, 2.0, 12).reshape(3, 4))
        optimizer = entry.function([{"params": [weight], "weight_decay": weight_decay, "hidden": True}], 0.01)
        for _ in range(3):
            weight.grad = torch.ones(3, 4) * 0.3 + (0.0 if weight_decay else decay) * weight.detach()
            optimizer.step()
        ends.append(weight.detach())
    return torch.allclose(*ends, rtol=1e-5, atol=1e-7)


@each_optimizer
def test_weight_decay_acts_as_it_says(name: str) -> None:
    needs(name)
    entry = optimizers.registry[name]
    assert kind_of_decay(entry) == entry.facts.weight_decay
    if "decoupled_weight_decay" in entry.options:
        model = network()
        decoupled = made(entry, model, 0.01, 0.1, decoupled_weight_decay=True)
        assert all(group["decoupled_weight_decay"] for group in decoupled.param_groups)


def test_the_kinds_of_decay_are_told_apart() -> None:
    assert kind_of_decay(planted(lambda groups, lr: O.Adam(groups, lr=lr))) == "coupled"
    assert kind_of_decay(planted(lambda groups, lr: O.AdamW(groups, lr=lr))) == "decoupled"


def test_lion_and_lamb_are_the_papers_formulas() -> None:
    needs("lion")
    start = torch.tensor([[0.3, -0.4], [1.2, 0.5]])
    gradients = [torch.tensor([[0.2, -0.1], [0.05, 0.3]]), torch.tensor([[-0.3, 0.2], [0.1, -0.2]])]
    lion, lamb = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    lr, decay = 0.1, 0.5
    made_lion = optimizers.registry["lion"].function([{"params": [lion], "weight_decay": decay}], lr)
    made_lamb = optimizers.registry["lamb"].function([{"params": [lamb], "weight_decay": decay}], lr)
    w, m = start.clone(), torch.zeros(2, 2)
    v, first, second = start.clone(), torch.zeros(2, 2), torch.zeros(2, 2)
    for gradient in gradients:
        lion.grad, lamb.grad = gradient.clone(), gradient.clone()
        made_lion.step()
        made_lamb.step()
        w = w - lr * ((0.9 * m + 0.1 * gradient).sign() + decay * w)
        m = 0.99 * m + 0.01 * gradient
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        u = first / (second.sqrt() + 1e-6) + decay * v
        v = v - lr * v.norm() / u.norm() * u
    assert torch.allclose(lion, w)
    assert torch.allclose(lamb, v, rtol=1e-4)


def test_muon_takes_hidden_matrices_and_adamw_the_rest() -> None:
    model = network()
    optimizer = made(optimizers.registry["muon"], model, 0.01, 0.1)
    kinds = {
        id(parameter): type(part).__name__
        for part in optimizer.parts
        for group in part.param_groups
        for parameter in group["params"]
    }
    names = {name: kinds[id(parameter)] for name, parameter in model.named_parameters()}
    assert {name for name, kind in names.items() if kind == "Muon"} == {"1.weight", "4.weight"}
    assert names["0.weight"] == names["1.bias"] == names["2.weight"] == "AdamW"
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model)
    train(model, optimizer, steps=1)
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs), "the schedule does not reach both"


# Options of both registries

ENTRIES = [
    entry
    for entry in (*optimizers.registry.entries(), *schedules.registry.entries())
    if entry.module.startswith("harness.")
]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def out_of_range(annotation: Any) -> Iterator[float]:
    """A value beyond each bound that the annotation has."""
    schema = TypeAdapter(annotation).json_schema()
    for part in [schema, *schema.get("anyOf", [])]:
        whole = part.get("type") == "integer"
        yield from (part[key] - (1 if whole else 0.5) for key in ("minimum",) if key in part)
        yield from (part[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in part)
        yield from (part[key] + (1 if whole else 0.5) for key in ("maximum",) if key in part)


def needed(entry: Entry[Any]) -> dict[str, Any]:
    given = {"every": 10, "milestones": (10, 20)}
    return {name: given[name] for name, option in entry.options.items() if option.default is REQUIRED}


@each_entry
def test_unknown_options_and_values_out_of_range_are_refused(entry: Entry[Any]) -> None:
    required = needed(entry)
    assert entry.check({**required, "learning_rate": 1}, "suite.toml", entry.name)
    assert entry.check(required, "suite.toml", entry.name) == []
    for name, option in entry.options.items():
        for value in out_of_range(option.annotation):
            problems = entry.check({**required, name: value}, "suite.toml", entry.name)
            assert [problem.key for problem in problems] == [f"{entry.name}.{name}"], (name, value)
        assert entry.check({**required, name: "perhaps"}, "suite.toml", entry.name), name
        if option.default is not REQUIRED:
            assert entry.check({**required, name: option.default}, "suite.toml", entry.name) == [], name


def test_numbers_have_bounds() -> None:
    """Every number of an optimizer or schedule is bounded on one side at least: no nonsense reaches training."""
    free = [
        (entry.name, name)
        for entry in ENTRIES
        for name, option in entry.options.items()
        if isinstance(option.default, (int, float))
        and not isinstance(option.default, bool)
        and not list(out_of_range(option.annotation))
    ]
    assert free == []


@pytest.mark.parametrize("lr", [0.0, -1e-3, math.inf, math.nan])
def test_a_learning_rate_is_a_positive_number(lr: float) -> None:
    with pytest.raises(ValueError, match="lr"):
        Recipe(lr=lr)


@each_entry
def test_it_says_what_it_is_and_where_it_is_from(entry: Entry[Any]) -> None:
    assert len(entry.summary) > 20
    assert entry.facts.source.startswith("https://") or entry.name == "constant"


# The guide


def rows_of_the_guide() -> dict[str, str]:
    """docs/recipes.md's rows by the name they describe."""
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| `\w+` \|", line) and line.count("|") >= 5]
    return {line.split("`")[1]: line for line in rows if "http" in line or "`constant`" in line}


@each_entry
def test_the_guide_has_a_row_with_its_source_and_facts(entry: Entry[Any]) -> None:
    row = rows_of_the_guide()[entry.name]
    assert entry.facts.source in row
    if isinstance(entry.facts, OptimizerFacts):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3].startswith(entry.facts.weight_decay)
        if entry.facts.state_of_shape is None:
            assert cells[2] == str(entry.facts.numbers_kept((1,), {}))
    else:
        optional = set(entry.options) - {"warmup_steps"}
        assert {name for name in optional if f"`{name}`" in row} == optional
