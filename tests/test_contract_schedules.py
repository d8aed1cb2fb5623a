"""What every registered schedule promises: torch's class step by step where there is one, bounds, warm-up, length."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from harness.recipes import schedules
from harness.recipes.schedules import Adaptive
from tests.test_contract_recipes import needed

SCHEDULES = [
    entry.name for entry in schedules.registry.entries() if entry.module.startswith("harness.recipes.schedules")
]
S = lr_scheduler
N = 60
SAME: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("constant", {}, lambda o: S.ConstantLR(o, factor=1.0)),
    ("step", {"every": 7, "gamma": 0.5}, lambda o: S.StepLR(o, 7, gamma=0.5)),
    ("multistep", {"milestones": (10, 11, 40)}, lambda o: S.MultiStepLR(o, [10, 11, 40])),
    ("exponential", {"floor": 0.02}, lambda o: S.ExponentialLR(o, 0.02 ** (1 / (N - 1)))),
    ("polynomial", {"power": 1.7}, lambda o: S.PolynomialLR(o, total_iters=N - 1, power=1.7)),
    ("linear", {"floor": 0.1}, lambda o: S.LinearLR(o, 1.0, 0.1, total_iters=N - 1)),
    ("cosine", {"floor": 0.05}, lambda o: S.CosineAnnealingLR(o, N - 1, eta_min=0.05)),
    ("cosine_restarts", {"cycles": 4, "floor": 0.1}, lambda o: S.CosineAnnealingWarmRestarts(o, 15, eta_min=0.1)),
    ("cosine_restarts", {"cycles": 4, "growth": 2}, lambda o: S.CosineAnnealingWarmRestarts(o, 4, T_mult=2)),
    ("onecycle", {}, lambda o: S.OneCycleLR(o, 1.0, total_steps=N, cycle_momentum=False)),
    ("onecycle", {"rise": 0.45, "start": 0.1, "end": 0.001, "anneal": "linear"},
     lambda o: S.OneCycleLR(o, 1.0, total_steps=N, pct_start=0.45, div_factor=10, final_div_factor=100,
                            anneal_strategy="linear", cycle_momentum=False)),
]  # fmt: skip
"""name, options, torch's class over 60 steps"""
ON_THEIR_OWN = {"wsd", "inverse_sqrt", "plateau"}
"""No class of torch, or one that needs a metric: tested below."""
SMOOTH = {"constant", "exponential", "polynomial", "linear", "cosine", "onecycle", "wsd", "inverse_sqrt", "plateau"}
each_schedule = pytest.mark.parametrize("name", SCHEDULES)


def multiplier(name: str, total_steps: int, **options: Any) -> Any:
    entry = schedules.registry[name]
    return entry.function(total_steps, **{**needed(entry), **options})


def torchs_values(scheduler: Callable[[Any], Any], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = scheduler(optimizer)
    values = []
    for _ in range(steps):
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        made.step()
    return values


def test_every_schedule_stands_in_a_table() -> None:
    assert {name for name, _options, _scheduler in SAME} | ON_THEIR_OWN == set(SCHEDULES)
    assert set(SCHEDULES) - {"step", "multistep", "cosine_restarts"} == SMOOTH


@pytest.mark.parametrize(("name", "options", "scheduler"), SAME)
def test_every_step_is_that_of_torchs_class(name: str, options: dict[str, Any], scheduler: Any) -> None:
    at = multiplier(name, N, **options)
    assert [at(step) for step in range(N)] == pytest.approx(torchs_values(scheduler, N), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("name", "options", "scheduler"), [case for case in SAME if case[0] != "onecycle"])
def test_after_warm_up_it_is_torchs_class_over_the_rest(name: str, options: dict[str, Any], scheduler: Any) -> None:
    if name == "multistep":
        options = {"milestones": tuple(step + 20 for step in options["milestones"])}
    at = multiplier(name, N + 20, warmup_steps=20, **options)
    expected = [(step + 1) / 20 for step in range(20)] + torchs_values(scheduler, N)
    assert [at(step) for step in range(N + 20)] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_another_schedule_differs_from_torchs_class() -> None:
    at = multiplier("polynomial", N, power=1.6)
    wrong = torchs_values(lambda o: S.PolynomialLR(o, total_iters=N - 1, power=1.7), N)
    assert [at(step) for step in range(N)] != pytest.approx(wrong, rel=1e-6, abs=1e-9)


def test_warm_up_is_torchs_linear_warm_up() -> None:
    at = multiplier("constant", N, warmup_steps=8)
    expected = torchs_values(lambda o: S.LinearLR(o, 1 / 8, 1.0, total_iters=7), N)
    assert [at(step) for step in range(N)] == pytest.approx(expected, rel=1e-6)


@each_schedule
def test_it_starts_ends_and_stays_in_its_bounds(name: str) -> None:
    entry = schedules.registry[name]
    warmup = {"warmup_steps": 100} if "warmup_steps" in entry.options else {}
    at = multiplier(name, 400, **({"milestones": (200, 300)} if name == "multistep" else {}), **warmup)
    values = [at(step) for step in range(1000)]
    assert all(0 <= value <= 1 and math.isfinite(value) for value in values)
    assert values[0] == pytest.approx(0.01 if warmup else 0.04)
    assert max(values) == pytest.approx(1.0)
    jumps = [abs(later - earlier) for earlier, later in itertools.pairwise(values)]
    assert (max(jumps) < 7 / 400) == (name in SMOOTH)
    floor = entry.options["end" if name == "onecycle" else "floor"].default if name not in ENDLESS else None
    if floor is not None:
        assert values[399] == pytest.approx(floor, abs=1e-3 if name == "cosine_restarts" else 1e-12)
        assert values[400:] == pytest.approx([floor] * 600, abs=1e-12)


ENDLESS = {"constant", "step", "multistep", "inverse_sqrt", "plateau"}
"""They name no share that is left at the last step."""


@each_schedule
@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(name: str, total: int) -> None:
    at = multiplier(name, total)
    assert all(0 <= at(step) <= 1 for step in range(5))


@pytest.mark.parametrize(("shape", "half"), [("linear", 0.5), ("sqrt", 1 - math.sqrt(0.5)), ("cosine", 0.5)])
def test_wsd_falls_in_the_last_part_only(shape: str, half: float) -> None:
    at = multiplier("wsd", 100, warmup_steps=10, decay=0.2, shape=shape, floor=0.0)
    assert [at(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert {at(step) for step in range(10, 80)} == {1.0}
    assert at(80) < 1
    assert at(89) == pytest.approx(half)
    assert at(99) == pytest.approx(0.0, abs=1e-12)
    tail = torchs_values(lambda o: S.LinearLR(o, 1.0, 0.0, total_iters=20), 21)[1:]
    if shape == "linear":
        assert [at(step) for step in range(80, 100)] == pytest.approx(tail, abs=1e-9)


def test_inverse_sqrt_is_the_transformers_schedule() -> None:
    at = multiplier("inverse_sqrt", 1000, warmup_steps=40)
    for step in range(40, 1000):
        assert at(step) == pytest.approx(step**-0.5 / 40**-0.5)
    assert multiplier("inverse_sqrt", 1000, warmup_steps=40, timescale=100)(40 + 300) == pytest.approx(0.5)


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize(
    "options", [{}, {"patience": 0, "factor": 0.5, "floor": 0.2}, {"cooldown": 3, "threshold": 0.1}]
)
def test_plateau_falls_when_torchs_class_does(better: str, options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(200, generator=generator)
    series = [float(2.0 / (1 + 0.1 * step) + 0.3 * noise[step]) for step in range(200)]
    if better == "higher":
        series = [1 / value for value in series]
    at = multiplier("plateau", 400, **options)
    assert isinstance(at, Adaptive)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = S.ReduceLROnPlateau(
        optimizer, mode="min" if better == "lower" else "max", patience=options.get("patience", 2),
        factor=options.get("factor", 0.1), threshold=options.get("threshold", 1e-4),
        cooldown=options.get("cooldown", 0), min_lr=options.get("floor", 0.0), eps=0.0,
    )  # fmt: skip
    falls = 0
    for step, value in enumerate(series):
        scheduler.step(value)
        if at.observe(value, better):
            at.reduce()
            falls += 1
        assert at(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
    assert falls > 1
