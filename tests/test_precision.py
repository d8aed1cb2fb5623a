"""Precisions: where they can run, that they are read back from live objects, and that a no-op is caught."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from harness.machine.inventory import Inventory
from harness.run.plan import make_plan
from harness.schema.record import Record, Status
from harness.schema.suite import Suite
from harness.strategies import ModelFacts, Setting
from harness.strategies import registry as strategies
from harness.strategies.precision import precisions
from tests.conftest import execute, make_trial

LACKS_TORCHAO = importlib.util.find_spec("torchao") is None


def fact(record: Record, name: str) -> Any:
    """What was found for a fact."""
    return next(fact.found for fact in record.applied if fact.fact == name)


# where they can run


def why_not(precision: str, setting: Setting, **options: object) -> str | None:
    """The precision's own reason."""
    return precisions[precision].facts.against(setting, options)


def test_tf32_needs_an_nvidia_device_from_ampere_on() -> None:
    reason = why_not("tf32", Setting("cpu", 2)) or ""
    assert "compute capability 8.0 or higher" in reason
    assert "this device is cpu" in reason
    assert "this one is of 7.5" in (why_not("tf32", Setting("cuda", 1, capability=(7, 5))) or "")
    assert why_not("tf32", Setting("cuda", 1, capability=(8, 0))) is None
    assert "this device is cuda" in (why_not("tf32", Setting("cuda", 1)) or ""), "AMD's numbers mean something else"


def test_fp8_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in there else None)
    assert why_not("fp8", Setting("cpu", 1)) == "torchao is not installed: pip install torchao"
    both = why_not("fp8", Setting("cuda", 1, capability=(8, 0))) or ""
    assert "pip install torchao" in both
    assert "8.9 or higher: this one is of 8.0" in both
    there.add("torchao")
    assert why_not("fp8", Setting("cuda", 1, capability=(8, 9))) is None
    assert "9.0 or higher" in (why_not("fp8", Setting("cuda", 1, capability=(8, 9)), scaling="rowwise") or "")


def test_fsdps_own_policy_is_for_fp32_and_for_models_without_batch_norm() -> None:
    against = strategies["fsdp"].facts.against
    policy = {"mixed_precision": "bf16"}
    assert against(Setting("cpu", 2), policy) is None
    assert "with precision fp32, not fp16" in (against(Setting("cpu", 2, precision="fp16"), policy) or "")
    normed = Setting("cpu", 2, model=ModelFacts(traits=frozenset({"batchnorm"})))
    assert "running averages" in (against(normed, policy) or "")
    assert against(normed, {}) is None


def test_plan_keeps_the_reason_of_a_precision_as_a_record() -> None:
    suite = Suite.model_validate(
        {"question": "q", "fixed": {"workload": "gpt", "size": "nano"}, "grid": {"precision": ["fp32", "tf32"]}}
    )
    plan = make_plan(suite, Inventory(cores=[0, 1]))
    reasons = {trial.precision.name: why for trial, why in plan.unsupported}
    assert set(reasons) == {"tf32"}
    assert "this device is cpu" in reasons["tf32"]


# trained for real


@pytest.mark.processes
@pytest.mark.parametrize(("strategy", "ranks"), [("single", 1), ("ddp", 2), ("zero1", 2), ("fsdp", 2)])
def test_pure_bfloat16_is_seen_in_weights_products_and_state(strategy: str, ranks: int) -> None:
    record, _series = execute(make_trial(strategy, ranks, precision="bf16_weights"))
    assert record.status is Status.OK, record.reason
    for name in ("parameter_dtype", "compute_dtype", "optimizer_state_dtype"):
        assert fact(record, name) == "bfloat16"
    assert record.parity is not None
    assert record.parity.equivalence == "approximate"
    assert record.parity.loss_error is not None
    assert record.parity.loss_error > 1e-5, "control: roundings of 8 bits are seen"


@pytest.mark.processes
def test_pure_bfloat16_trains_a_model_with_batch_norm() -> None:
    record, _series = execute(make_trial(precision="bf16_weights", **of_workload("resnet")))
    assert record.status is Status.OK, record.reason


@pytest.mark.processes
def test_pure_bfloat16_with_an_optimizer_that_keeps_nothing() -> None:
    recipe = make_trial().recipe.model_validate(
        {**make_trial().recipe.model_dump(), "optimizer": {"name": "sgd", "momentum": 0.0}}
    )
    record, _series = execute(make_trial(precision="bf16_weights", recipe=recipe))
    assert record.status is Status.OK, record.reason
    assert fact(record, "optimizer_state_dtype") == "none"


@pytest.mark.processes
def test_fsdps_policy_computes_in_bfloat16_beside_weights_in_fp32() -> None:
    record, _series = execute(make_trial({"name": "fsdp", "mixed_precision": "bf16"}, 2))
    assert record.status is Status.OK, record.reason
    assert fact(record, "compute_dtype") == "bfloat16"
    assert fact(record, "parameter_dtype") == "float32"
    assert record.parity is not None
    assert record.parity.equivalence == "approximate"


@pytest.mark.processes
def test_fsdps_policy_fails_on_batch_norm_as_the_plan_says() -> None:
    """Should PyTorch learn it, this fails, and the plan's reason is to go."""
    strategy = {"name": "fsdp", "mixed_precision": "bf16"}
    record, _series = execute(make_trial(strategy, 2, **of_workload("resnet")), parity=False)
    assert record.status is Status.CRASHED
    assert "expected scalar type BFloat16 but found Float" in (record.reason or "")


def of_workload(name: str) -> dict[str, Any]:
    """What a trial of that workload needs, at its smallest size."""
    from harness.workloads import registry

    return {"workload": name, "size": "nano", "recipe": registry[name].facts.recipe_for("nano"), "global_batch": 16}


@pytest.mark.processes
def test_tf32_flags_are_set_and_read_back_and_fp32_finds_them_off() -> None:
    """The flags can be set anywhere; products change on devices that know the format only."""
    record, _series = execute(make_trial(precision="tf32"))
    assert record.status is Status.OK, record.reason
    assert fact(record, "tf32_products") is True
    assert fact(record, "tf32_convolutions") is True
    plain, _series = execute(make_trial())
    assert fact(plain, "tf32_products") is False


@pytest.mark.processes
@pytest.mark.skipif(LACKS_TORCHAO, reason="torchao is not installed: pip install torchao")
@pytest.mark.parametrize(("strategy", "ranks"), [("single", 1), ("fsdp", 2)])
def test_fp8_converts_the_layers_that_fit(strategy: str, ranks: int) -> None:
    record, _series = execute(make_trial(strategy, ranks, precision="fp8"))
    assert record.status is Status.OK, record.reason
    assert fact(record, "float8_modules") == 2, "the classifier's two outputs are no multiple of 16"
    assert record.parity is not None
    assert record.parity.loss_error is not None
    assert record.parity.loss_error > 1e-4, "control: roundings of 4 bits are seen"


# no-ops


@pytest.mark.processes
@pytest.mark.parametrize(
    ("precision", "strategy", "ranks", "wrong"),
    [
        ("tf32_off", "single", 1, "tf32_products"),
        ("weights_kept", "single", 1, "parameter_dtype"),
        ("float8_nowhere", "single", 1, "float8_modules"),
        ("bf16_weights", "wide_state", 1, "optimizer_state_dtype: asked bfloat16 or none, found float32"),
        ("fp32", "policy_off", 2, "compute_dtype"),
    ],
)
def test_precision_that_is_not_there_is_not_applied(precision: str, strategy: str, ranks: int, wrong: str) -> None:
    record, _series = execute(make_trial(strategy, ranks, precision=precision), parity=False)
    assert record.status is Status.NOT_APPLIED, record.reason
    assert wrong in (record.reason or "")
    assert "step_s" not in record.metrics
