"""Techniques: where they can be had, that they are read back from live objects, and that a no-op is caught."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.machine.device import Device
from harness.measure.steady import BLOCK, WARMUP_MAX, warmup_state
from harness.schema.record import Record, Status
from harness.schema.suite import Choice
from harness.strategies import ModelFacts, Place, Setting
from harness.strategies.techniques import techniques
from harness.strategies.techniques.channels_last import layout
from tests.conftest import execute, make_trial
from tests.test_precision import fact, of_workload

PICTURES = ModelFacts(traits=frozenset({"conv2d", "batchnorm"}))


def why_not(technique: str, setting: Setting, **options: object) -> str | None:
    """The technique's own reason."""
    return techniques[technique].facts.against(setting, options)


# where they can be had


def test_channels_last_is_for_pictures_and_for_whole_parameters() -> None:
    assert "gpt has none" in (why_not("channels_last", Setting("cpu", 1, workload="gpt")) or "")
    assert why_not("channels_last", Setting("cpu", 1, model=PICTURES)) is None
    assert "FSDP2" in (why_not("channels_last", Setting("cpu", 2, strategy="fsdp", model=PICTURES)) or "")


def test_compile_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install g++" in (why_not("compile", Setting("cpu", 1)) or "")
    compiler = tmp_path / "g++"
    compiler.write_text("")
    compiler.chmod(0o755)
    assert why_not("compile", Setting("cpu", 1)) is None
    monkeypatch.setenv("CXX", "my-compiler")
    assert "no my-compiler" in (why_not("compile", Setting("cpu", 1)) or "")


def test_compile_says_where_it_makes_no_sense() -> None:
    assert "CUDA graphs" in (why_not("compile", Setting("cpu", 1), mode="reduce-overhead") or "")
    assert "copies" in (why_not("compile", Setting("cpu", 2, strategy="dp_threads")) or "")


def test_selection_of_products_needs_code_that_is_not_compiled() -> None:
    both = Setting("cpu", 1, techniques=("checkpointing", "compile"))
    assert "compile" in (why_not("checkpointing", both, keep="products") or "")
    assert why_not("checkpointing", both) is None


def test_activations_are_offloaded_from_accelerators_only() -> None:
    assert "in host memory already" in (why_not("activation_offload", Setting("cpu", 1)) or "")
    assert why_not("activation_offload", Setting("cuda", 1)) is None


# parts


def test_activation_offload_changes_where_activations_wait_and_not_the_gradients() -> None:
    """Its real code on CPU, where the copies are made as well, to unpinned memory."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    rows = torch.randn(4, 8)
    model(rows).square().mean().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    adapted = techniques["activation_offload"].function(model, Place(Device(), blocks=(nn.Linear,)))
    assert adapted.observed() == adapted.expected == {"offloaded_blocks": 2}
    model(rows).square().mean().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_layout_is_told_by_strides() -> None:
    picture = torch.zeros(2, 3, 4, 4)
    assert layout(picture) == "rows"
    assert layout(picture.contiguous(memory_format=torch.channels_last)) == "channels_last"
    assert layout(torch.zeros(2, 1, 4, 4)) == "either"
    assert layout(picture.transpose(0, 2)) == "neither"


def test_steps_that_compiled_are_no_sign_of_steadiness() -> None:
    same = [1.0] * (2 * BLOCK + 3)
    assert warmup_state(same, unsettled=0) is not None
    assert warmup_state(same, unsettled=8) is None, "something was compiled in the eighth step"
    assert warmup_state([1.0] * WARMUP_MAX, unsettled=WARMUP_MAX - 1) is not None, "the cap holds"


# trained for real


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "blocks"),
    [({}, 3), ({"every": 2}, 2), ({"keep": "products"}, 3), ({"keep": "products", "every": 3}, 1)],
)
def test_checkpointing_computes_the_same_again(options: dict[str, Any], blocks: int) -> None:
    asked = {"name": "checkpointing", **options}
    record, _series = execute(make_trial("ddp", 2, techniques=[asked]))
    assert record.status is Status.OK, record.reason
    assert fact(record, "checkpointed_blocks") == blocks
    assert fact(record, "kept_products") is ("keep" in options)
    assert record.parity is not None
    assert record.parity.status == "passed"


@pytest.mark.processes
def test_selective_checkpointing_keeps_more_than_full_and_less_than_none() -> None:
    held = []
    for techniques_ in ([], [{"name": "checkpointing", "keep": "products"}], ["checkpointing"]):
        record, _series = execute(make_trial(techniques=techniques_, **of_workload("gpt"), steps=2), parity=False)
        assert record.status is Status.OK, record.reason
        held.append(record.metrics["memory_activations_bytes"])
    assert held[0] > held[1] > held[2]


@pytest.mark.processes
@pytest.mark.parametrize(("strategy", "ranks", "precision"), [("single", 1, "fp32"), ("ddp", 2, "bf16")])
def test_channels_last_is_seen_in_kernels_and_pictures(strategy: str, ranks: int, precision: str) -> None:
    asked = of_workload("resnet")
    record, _series = execute(make_trial(strategy, ranks, precision=precision, techniques=["channels_last"], **asked))
    assert record.status is Status.OK, record.reason
    assert fact(record, "weight_layout") == fact(record, "output_layout") == "channels_last"
    plain, _series = execute(make_trial(strategy, ranks, precision=precision, **asked))
    assert fact(plain, "output_layout") == "rows"


@pytest.mark.processes
@pytest.mark.parametrize("strategy", ["fsdp", "zero1"])
@pytest.mark.parametrize("option", ["fused", "foreach"])
def test_optimizer_implementation_is_read_back_where_parameters_or_state_are_divided(
    strategy: str, option: str
) -> None:
    optimizer = Choice.model_validate({"name": "adamw", option: True})
    recipe = make_trial().recipe.model_copy(update={"optimizer": optimizer})
    record, _series = execute(make_trial(strategy, 2, recipe=recipe))
    assert record.status is Status.OK, record.reason
    assert fact(record, option) is True


# compiled


def compiled(**changes: Any) -> Record:
    """A trial of blocks that are one product each."""
    asked = {"workload": "plain", "recipe": make_trial().recipe, "techniques": ["compile"], "timeout_s": 500.0}
    record, _series = execute(make_trial(**{**asked, **changes}))
    return record


@pytest.mark.processes
def test_compiled_blocks_train_the_same_and_their_compiling_is_kept_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    record = compiled(eval_every=3)
    assert record.status is Status.OK, record.reason
    assert list(tmp_path.glob("dynamometer-*")) == [], "a cold cache is in the trial's folder and goes with it"
    assert fact(record, "compiled_modules") == 3
    assert fact(record, "compiled_calls") == 3 * 4, "three blocks in each of four micro-batches"
    assert fact(record, "compute_dtype") == "float32"
    seen = record.per_rank[0].facts["compile"]
    assert seen["compiled_frames"] == 3, "evaluation, at another batch, compiled nothing"
    assert seen["cache_hits"] == 0
    assert (seen["in_window_frames"], seen["in_window_s"]) == (0, 0)
    assert 0 < record.metrics["compile_s"] < record.metrics["first_step_s"]
    assert record.metrics["step_s"] < record.metrics["compile_s"]
    assert "memory tracker" in record.per_rank[0].facts["absent"]["memory"]


@pytest.mark.processes
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_compiled_blocks_of_two_ranks_compute_in_the_type_asked_for(strategy: str) -> None:
    two = {"strategy": strategy, "devices": 2, "processes": 2, "device_slots": 2, "accumulation": 2}
    record = compiled(**two, precision="bf16_weights")
    assert record.status is Status.OK, record.reason
    assert fact(record, "compute_dtype") == "bfloat16", "read from the graph: a hook would be compiled with it"
    assert fact(record, "compiled_calls") == 3 * 2


@pytest.mark.processes
def test_what_is_compiled_inside_the_window_is_counted() -> None:
    workload = {"name": "plain", "stretch": 30}
    record = compiled(workload=workload, warmup_steps=6, eval_every=0)
    assert record.status is Status.OK, record.reason
    seen = record.per_rank[0].facts["compile"]
    assert seen["in_window_frames"] == seen["compiled_frames"] == 3
    assert seen["in_window_s"] > 0


@pytest.mark.processes
def test_warm_cache_is_used_and_a_cold_one_is_not() -> None:
    """The first may find what an earlier run of this test left."""
    hits = []
    for cache in ("warm", "warm", "cold"):
        record = compiled(techniques=[{"name": "compile", "cache": cache}])
        assert record.status is Status.OK, record.reason
        hits.append(record.per_rank[0].facts["compile"]["cache_hits"])
    assert hits[1] > 0
    assert hits[2] == 0


# no-ops


@pytest.mark.processes
@pytest.mark.parametrize(
    ("how", "wrong"),
    [
        ("disabled", "compiled_frames"),
        ("variable", "compiled_modules"),
        ("suppressed", "frames_left_out"),
        ("limit", "compiled_calls: asked 12 to inf, found"),
    ],
)
def test_compiling_that_falls_back_to_python_is_not_applied(how: str, wrong: str) -> None:
    record = compiled(techniques=[{"name": "compile_not", "how": how}])
    assert record.status is Status.NOT_APPLIED, record.reason
    assert wrong in (record.reason or "")
    assert "step_s" not in record.metrics


@pytest.mark.processes
@pytest.mark.parametrize(
    ("technique", "workload", "wrong"),
    [
        ("forgets_nothing", None, "checkpointed_blocks: asked 3, found 0"),
        ("keeps_nothing", None, "kept_products: asked True, found False"),
        ("keeps_to_forget", "gpt", "kept_products: asked True, found False"),
        ("stays_on_device", None, "offloaded_blocks"),
        ("layout_kept", "resnet", "weight_layout: asked channels_last, found rows"),
        ("layout_undone", "resnet", "output_layout: asked channels_last, found rows"),
    ],
)
def test_technique_that_does_nothing_is_not_applied(technique: str, workload: str | None, wrong: str) -> None:
    asked = of_workload(workload) if workload else {}
    record, _series = execute(make_trial(techniques=[technique], **asked), parity=False)
    assert record.status is Status.NOT_APPLIED, record.reason
    assert wrong in (record.reason or "")


@pytest.mark.processes
def test_optimizer_that_ignores_fused_is_not_applied() -> None:
    optimizer = Choice.model_validate({"name": "unfused", "fused": True})
    record, _series = execute(make_trial(recipe=make_trial().recipe.model_copy(update={"optimizer": optimizer})))
    assert record.status is Status.NOT_APPLIED
    assert "fused: asked True, found False" in (record.reason or "")
