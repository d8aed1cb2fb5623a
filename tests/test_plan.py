"""The plan: which cells there are, on how many devices, in what order, and which cannot run here for what reason."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.machine.inventory import Inventory
from harness.run.plan import Plan, estimate_s, make_plan, parity_key, reference_trial
from harness.run.where import parse_where
from harness.schema.errors import InputError, UnknownName
from harness.schema.suite import Suite
from harness.schema.trial import Plugin
from tests.toys import RECIPE, toys
from tests.trials import a_trial

pytestmark = pytest.mark.usefixtures("toys")
__all__ = ["toys"]

CPU = Inventory(cores=[0, 1, 2, 3])
ONE_CORE = Inventory(cores=[0])
GPUS = Inventory(
    accelerator="cuda", accelerator_names=["H"] * 8, accelerator_memory_bytes=[1] * 8, cores=list(range(16))
)


def suite(**tables: Any) -> Suite:
    """A suite of one toy cell; keyword arguments are tables of it."""
    fixed = {"workload": "toy", **tables.pop("fixed", {})}
    return Suite.model_validate({"question": "q", "fixed": fixed, "budget": {"repeats": 1}, **tables})


def plan_of(inventory: Inventory = CPU, where: tuple[tuple[str, str], ...] = (), **tables: Any) -> Plan:
    return make_plan(suite(**tables), inventory, where=where)


def labels(plan: Plan) -> set[str]:
    return {trial.label for trial in plan.trials}


# Cells


def test_defaults_are_the_workloads_own() -> None:
    (trial,) = plan_of().trials
    assert trial.label == "toy/nano single fp32"
    assert (trial.global_batch, trial.micro_batch, trial.accumulation, trial.steps) == (16, 8, 2, 30)
    assert (trial.warmup_steps, trial.eval_every, trial.techniques) == (None, None, ())
    assert trial.recipe == RECIPE
    assert (trial.device, trial.devices, trial.processes, trial.device_slots) == ("cpu", 1, 1, 2)


def test_cells_are_cases_times_grid_minus_exclude_plus_include() -> None:
    plan = plan_of(
        fixed={"workload": None},
        case=[{"workload": "toy", "size": "mini"}, {"workload": "other"}],
        grid={"precision": ["fp32", "bf16"], "techniques": [[], ["checkpointing"]]},
        exclude=[{"workload": "other", "precision": "bf16"}, {"techniques": ["checkpointing"], "precision": "fp32"}],
        include=[{"workload": "toy", "strategy": {"name": "single", "cores": "all"}}],
    )
    assert labels(plan) == {
        "toy/mini single fp32",
        "toy/mini single bf16",
        "toy/mini single bf16 checkpointing",
        "other/tiny single fp32",
        "toy/nano single(cores=all) fp32",
    }


def test_includes_alone_are_all_there_is() -> None:
    assert labels(plan_of(include=[{"size": "mini"}])) == {"toy/mini single fp32"}
    assert labels(plan_of(include=[{"size": "mini"}], grid={"precision": ["bf16"]})) == {
        "toy/mini single fp32",
        "toy/nano single bf16",
    }


def test_a_recipe_is_laid_over_key_by_key() -> None:
    plan = plan_of(fixed={"recipe": {"lr": 0.5}}, grid={"recipe": [{"optimizer": "adam"}, {"clip": "off"}]})
    recipes = {trial.recipe.label for trial in plan.trials}
    assert recipes == {"adam lr 0.5 flat clip 1", "down lr 0.5 flat"}
    plan = plan_of(fixed={"recipe": {"lr": 0.5}}, case=[{"recipe": {"optimizer": "adam"}}])
    assert plan.trials[0].recipe.label == "adam lr 0.5 flat clip 1"


def test_equal_cells_are_one_also_where_a_default_is_spelled_out() -> None:
    strategies = [
        "ddp",
        {"name": "ddp", "depth": 2},
        {"name": "ddp", "fast": False},
        {"name": "ddp", "depth": 3},
        "ddp",
    ]
    assert labels(plan_of(grid={"strategy": strategies})) == {"toy/nano ddp fp32", "toy/nano ddp(depth=3) fp32"}


def test_a_name_no_registry_knows_is_refused_also_without_load_suite() -> None:
    with pytest.raises(UnknownName, match="did you mean 'single'"):
        plan_of(fixed={"strategy": "singel"})
    with pytest.raises(InputError, match="workload: expected one of needy, other, toy"):
        plan_of(fixed={"workload": None})


# Devices


@pytest.mark.parametrize(
    ("inventory", "global_batch", "micro_batch", "count"),
    [
        (CPU, 16, 8, 2),  # two shares of the cores, however many there are
        (ONE_CORE, 16, 8, 1),
        (GPUS, 64, 8, 8),
        (GPUS, 48, 8, 6),  # the largest count that divides
        (GPUS, 56, 8, 7),
        (GPUS, 16, 8, 2),
        (GPUS, 8, 8, 1),
    ],
)
def test_auto_is_the_largest_count_whose_micro_batches_divide_the_batch(
    inventory: Inventory, global_batch: int, micro_batch: int, count: int
) -> None:
    plan = plan_of(inventory, fixed={"global_batch": global_batch, "micro_batch": micro_batch})
    assert {trial.device_slots for trial in plan.trials} == {count}


def test_a_strategy_with_a_process_per_device() -> None:
    (trial,) = plan_of(GPUS, fixed={"strategy": "ddp", "global_batch": 128, "devices": 4}).trials
    assert (trial.device, trial.devices, trial.processes, trial.device_slots) == ("cuda", 4, 4, 4)
    assert trial.accumulation == 4


def test_one_process_takes_one_device_and_its_share_of_the_cores() -> None:
    plan = plan_of(
        fixed={"devices": 4, "global_batch": 32}, grid={"strategy": ["single", {"name": "single", "cores": "all"}]}
    )
    by_label = {trial.strategy.label: trial for trial in plan.trials}
    share, all_cores = by_label["single"], by_label["single(cores=all)"]
    assert (share.devices, share.processes, share.device_slots, share.shares, share.accumulation) == (1, 1, 4, 1, 4)
    assert (all_cores.devices, all_cores.device_slots, all_cores.shares) == (1, 4, 4)


def test_one_process_that_spreads_a_forward_takes_the_micro_batch_of_all_devices() -> None:
    (trial,) = plan_of(GPUS, fixed={"strategy": "dp", "devices": 4, "global_batch": 64}).trials
    assert (trial.devices, trial.processes, trial.accumulation) == (4, 1, 2)


@pytest.mark.parametrize(
    ("inventory", "fixed", "message"),
    [
        (CPU, {"devices": 5, "micro_batch": 1}, "devices: found 5, expected at most 4: this machine has 4 cores"),
        (GPUS, {"devices": 9, "micro_batch": 1}, "found 9, expected at most 8: this machine has 8 cuda devices"),
        (
            CPU,
            {"device": "cuda"},
            "device: found 'cuda', expected one of auto, cpu: this machine has no device of kind",
        ),
    ],
)
def test_more_devices_than_there_are_is_refused(inventory: Inventory, fixed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_of(inventory, fixed=fixed)
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


# Impossible cells


@pytest.mark.parametrize(
    ("inventory", "fixed", "reason"),
    [
        (CPU, {"strategy": "dp"}, "needs two accelerators"),
        (ONE_CORE, {"strategy": "ddp"}, "ddp needs at least 2 devices, there is 1"),
        (CPU, {"strategy": "grid4"}, "grid4 needs at least 4 devices; devices = 'auto' stands for 2 on CPU"),
        (
            GPUS,
            {"strategy": "ddp", "global_batch": 8},
            "ddp needs at least 2 devices, and micro_batch 8 times 2 to 8 of them does not divide global_batch 8",
        ),
        (
            CPU,
            {"strategy": "ddp", "devices": 3},
            "micro_batch 8 × 3 devices does not divide global_batch 16",
        ),
        (
            CPU.model_copy(update={"unsupported_precisions": {"cpu": {"bf16": "no such kernel"}}}),
            {"precision": "bf16"},
            "bf16 on cpu: no such kernel",
        ),
    ],
)
def test_an_impossible_cell_is_kept_with_its_reason(inventory: Inventory, fixed: dict[str, Any], reason: str) -> None:
    plan = plan_of(inventory, fixed=fixed, include=[{"strategy": "single", "precision": "fp32"}], case=[{}])
    assert len(plan.trials) == 1
    ((trial, why),) = plan.unsupported
    assert why == reason
    assert trial.repeat == 0


def test_an_impossible_cell_stands_there_once_not_per_round() -> None:
    plan = plan_of(grid={"strategy": ["single", "dp"]}, budget={"repeats": 3, "seeds": [0, 1]})
    assert (len(plan.trials), len(plan.unsupported)) == (6, 1)


# Order


def test_repeats_outermost_then_seeds_and_cells_shuffled_anew_in_each_round() -> None:
    grid = {"steps": [1, 2, 3, 4, 5, 6, 7, 8]}
    plan = plan_of(grid=grid, budget={"repeats": 3, "seeds": [5, 7]})
    rounds = (
        [list(chunk) for chunk in itertools.batched(plan.trials, 8)]
        if hasattr(itertools, "batched")
        else [plan.trials[start : start + 8] for start in range(0, 48, 8)]
    )
    assert [{(t.repeat, t.seed) for t in round_} for round_ in rounds] == [
        {(repeat, seed)} for repeat in range(3) for seed in (5, 7)
    ]
    orders = [tuple(trial.steps for trial in round_) for round_ in rounds]
    assert all(sorted(order) == grid["steps"] for order in orders)
    assert len(set(orders)) > 1, "not the same order in every round"
    assert orders != [tuple(grid["steps"])] * 6, "not the order of the suite"


def test_the_same_suite_is_the_same_order_and_another_suite_another() -> None:
    grid = {"steps": list(range(1, 9)), "precision": ["fp32", "bf16"]}
    first, again = plan_of(grid=grid), plan_of(grid=grid)
    assert [trial.id for trial in first.trials] == [trial.id for trial in again.trials]
    other = plan_of(grid=grid, budget={"repeats": 1, "trial_timeout_s": 77})
    assert [trial.label for trial in other.trials] != [trial.label for trial in first.trials]


def test_every_cell_comes_first_about_equally_often() -> None:
    """The negative control of interleaving: a fixed order puts one cell first in all 300 rounds."""
    plan = plan_of(grid={"steps": [1, 2, 3]}, budget={"repeats": 300})
    firsts = Counter(plan.trials[start].steps for start in range(0, 900, 3))
    assert min(firsts.values()) >= 70


# Keys and baseline


def test_compared_keys_are_the_baselines_and_group_keys_all_others_that_vary() -> None:
    plan = plan_of(
        baseline={"strategy": "single", "precision": "fp32"},
        fixed={"workload": None, "devices": 2},
        case=[{"workload": "toy", "global_batch": 16}, {"workload": "toy", "size": "mini", "global_batch": 32}],
        grid={"strategy": ["single", "ddp"], "precision": ["fp32", "bf16"], "steps": [10]},
    )
    assert list(plan.compared_keys) == ["strategy", "precision"]
    assert list(plan.group_keys) == ["size", "global_batch"]
    assert plan.baseline == {"strategy": "single", "precision": "fp32"}
    baseline = {trial.cell: trial.label for trial in plan.trials if trial.cell in plan.baseline_cells}
    assert sorted(baseline.values()) == ["toy/mini single fp32", "toy/nano single fp32"]


def test_without_a_baseline_the_grids_axes_are_compared_with_the_first_cell() -> None:
    plan = plan_of(grid={"strategy": ["ddp", "single"], "steps": [5]})
    assert list(plan.compared_keys) == ["strategy", "steps"]
    assert plan.baseline == {"strategy": "ddp", "steps": 5}
    assert len(plan.baseline_cells) == 1
    plan = plan_of(case=[{"size": "nano"}, {"size": "mini"}])
    assert (list(plan.compared_keys), plan.baseline) == (["size"], {"size": "nano"})


def test_values_that_only_follow_from_the_workload_are_no_keys() -> None:
    plan = plan_of(fixed={"workload": None}, grid={"workload": ["toy", "other"], "strategy": ["single"]})
    assert list(plan.group_keys) == []
    assert list(plan.compared_keys) == ["workload", "strategy"]


# --where


def test_filters_of_one_key_widen_and_of_different_keys_narrow() -> None:
    grid = {"strategy": ["single", "ddp", {"name": "ddp", "depth": 3}], "precision": ["fp32", "bf16"]}

    def kept(*texts: str) -> set[str]:
        return {label.removeprefix("toy/nano ") for label in labels(plan_of(where=parse_where(texts), grid=grid))}

    assert kept("strategy=ddp") == {"ddp fp32", "ddp bf16", "ddp(depth=3) fp32", "ddp(depth=3) bf16"}
    assert kept("strategy=ddp(depth=3)", "precision=bf16") == {"ddp(depth=3) bf16"}
    assert kept("strategy=single", "strategy=ddp(depth=3)", "precision=fp32") == {"single fp32", "ddp(depth=3) fp32"}
    assert kept("techniques=none", "recipe.lr=0.1", "precision=fp32", "strategy=single") == {"single fp32"}


def test_filters_keep_the_order_of_what_is_left() -> None:
    grid = {"steps": [1, 2, 3, 4, 5]}
    everything = [trial.id for trial in plan_of(grid=grid).trials]
    kept = [trial.id for trial in plan_of(grid=grid, where=parse_where(["steps=2", "steps=5"])).trials]
    assert set(kept) < set(everything)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ddp", "--where: found 'ddp', expected KEY=VALUE, for example strategy=ddp"),
        ("strateg=ddp", "did you mean 'strategy'"),
        ("strategy=dpp", "--where: strategy: found 'dpp', expected one of ddp, single (did you mean 'ddp'?)"),
    ],
)
def test_a_wrong_filter_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_of(where=parse_where([text]), grid={"strategy": ["single", "ddp"]})
    assert message in str(caught.value)


def test_all_wrong_filters_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_where(["x", "y=1", "strategy=ddp"])
    assert len(caught.value.problems) == 2


def test_filters_that_no_cell_fits_together_are_refused() -> None:
    include = [{"strategy": "ddp", "precision": "bf16"}, {"strategy": "single", "precision": "fp32"}]
    with pytest.raises(InputError, match="expected a combination that at least one cell has"):
        plan_of(where=parse_where(["strategy=ddp", "precision=fp32"]), include=include)


# References and estimates


def test_trials_of_one_maths_share_a_reference() -> None:
    grid = {"strategy": ["single", "ddp"], "precision": ["fp32", "bf16"], "techniques": [[], ["checkpointing"]]}
    plan = plan_of(grid=grid, budget={"repeats": 2})
    assert len({parity_key(trial) for trial in plan.trials}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"size": "mini"},
        {"seed": 1},
        {"global_batch": 32},
        {"micro_batch": 4},
        {"recipe": RECIPE},
        {"steps": 9},
        {"parity_steps": 7},
        {"plugins": (Plugin(path="x", sha256="1"),)},
    ],
)
def test_what_changes_the_maths_changes_the_reference(change: dict[str, Any]) -> None:
    assert parity_key(a_trial(**change)) != parity_key(a_trial())


def test_a_reference_is_one_process_in_fp32_over_the_same_schedule() -> None:
    trial = a_trial(strategy="ddp", precision="bf16", repeat=3, techniques=["checkpointing"], warmup_steps=7, steps=9)
    reference = reference_trial(trial)
    assert reference.kind == "reference"
    assert reference.label == "gpt/nano single fp32"
    assert (reference.accumulation, reference.processes, reference.repeat, reference.eval_every) == (2, 1, 0, 0)
    assert reference.horizon(40) == trial.horizon(40), "else its learning rates would be others"
    assert reference_trial(reference) == reference


def test_estimates_say_what_they_go_by() -> None:
    plan = plan_of(grid={"strategy": ["single", "ddp"]}, budget={"repeats": 3})
    assert estimate_s(plan, {}) == (35.0, "a guess of 5 s a trial: none of these cells has run here yet")
    single, ddp = (next(t.cell for t in plan.trials if t.strategy.name == name) for name in ("single", "ddp"))
    assert estimate_s(plan, {single: 2.0}) == (14.0, "from earlier trials of 1 of 2 cells on this machine")
    assert estimate_s(plan, {single: 2.0, ddp: 4.0})[0] == 3 * 2 + 3 * 4 + 3
    assert estimate_s(Plan(trials=[]), {})[0] == 0


# Whatever the numbers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    strategy=st.sampled_from(["single", "ddp", "dp", "grid4"]),
    global_batch=st.integers(1, 96),
    micro_batch=st.integers(1, 12),
    devices=st.one_of(st.just("auto"), st.integers(1, 8)),
    inventory=st.sampled_from([CPU.model_copy(update={"cores": list(range(8))}), GPUS]),
)
def test_every_planned_trial_trains_exactly_the_global_batch(inventory: Inventory, **fixed: Any) -> None:
    plan = plan_of(inventory, fixed=fixed)
    assert len(plan.trials) + len(plan.unsupported) == 1
    for trial in plan.trials:
        samples = trial.micro_batch * trial.accumulation * trial.devices
        assert samples == trial.global_batch
        assert trial.devices <= trial.device_slots <= 8
        assert trial.processes in (1, trial.devices)
    for trial, reason in plan.unsupported:
        assert reason
        assert trial.id
