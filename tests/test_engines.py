"""Horovod and DeepSpeed: their part of the maths against one process where installed, their logic without them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness.machine.device import open_device
from harness.measure.applied import compare
from harness.recipes.build import group_facts
from harness.report import listing
from harness.schema.record import Record, Status
from harness.schema.suite import Choice, Recipe
from harness.strategies import Place, Setting, Wrapped, registry
from harness.strategies.deepspeed import division, stage_of
from harness.strategies.horovod_ranks import Slot, slots, variables
from tests.conftest import execute, make_trial, plugins

SGD = Recipe(
    optimizer=Choice(name="sgd", options={"momentum": 0.9}), lr=0.1, schedule="constant", weight_decay=0.01, clip=0.05
)
"""Unlike AdamW's, its steps are as long as the gradients: what is not clipped shows in the loss."""


def missing(name: str) -> bool:
    return importlib.util.find_spec(name) is None


needs_horovod = pytest.mark.skipif(missing("horovod"), reason="horovod is not installed: make horovod")
needs_deepspeed = pytest.mark.skipif(missing("deepspeed"), reason="deepspeed is not installed: pip install deepspeed")


def found(record: Record, fact: str) -> Any:
    return next(each.found for each in record.applied if each.fact == fact)


# Whether they can run


@pytest.mark.parametrize(("name", "command"), [("horovod", "make horovod"), ("deepspeed", "pip install deepspeed")])
def test_what_is_not_installed_is_unsupported_with_the_command(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, setting = registry[name].facts, Setting("cpu", 2, name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert facts.against(setting, {}) == f"{name} is not installed: {command}"
    assert command in listing.FEATURES[name][1]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    assert facts.against(setting, {}) is None


@pytest.mark.parametrize(
    ("name", "precision", "technique", "stage", "reason"),
    [
        ("deepspeed", "fp16", "", 2, "gradient scaler"),
        ("deepspeed", "bf16_weights", "", 2, "bf16_weights"),
        ("deepspeed", "fp32", "compile", 3, "uncompiled"),
        ("deepspeed", "fp32", "compile", 2, None),
        ("deepspeed", "bf16", "checkpointing", 3, None),
        ("horovod", "bf16_weights", "", None, "bfloat16"),
        ("horovod", "fp16", "compile", None, None),
    ],
)
def test_engines_say_what_they_cannot(
    name: str, precision: str, technique: str, stage: int | None, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    setting = Setting("cpu", 2, name, precision, (technique,) if technique else ())
    said = registry[name].facts.against(setting, {} if stage is None else {"stage": stage})
    assert said is None if reason is None else said is not None and reason in said


# Where Horovod's ranks meet


def test_ranks_of_one_host_are_neighbours() -> None:
    assert slots(["a", "a"]) == [Slot("a", 0, 2, 0, 2, 0, 1), Slot("a", 1, 2, 1, 2, 0, 1)]


def test_hosts_may_alternate_and_hold_different_numbers_of_ranks() -> None:
    first, second, third, fourth = slots(["a", "b", "a", "a"])
    assert (first.local_rank, first.local_size, first.cross_rank, first.cross_size) == (0, 3, 0, 2)
    assert (second.local_rank, second.local_size, second.cross_rank, second.cross_size) == (0, 1, 1, 2)
    assert (third.local_rank, third.cross_rank, third.cross_size) == (1, 0, 1)
    assert (fourth.local_rank, fourth.cross_rank, fourth.cross_size) == (2, 0, 1)


@needs_horovod
@pytest.mark.parametrize("hosts", ["a:2", "a:1,b:1", "a:2,b:2", "a:3,b:1", "a:1,b:3,c:2"])
def test_slots_are_those_of_horovods_own_launcher(hosts: str) -> None:
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts

    numbers = [(name, int(count)) for name, count in (each.split(":") for each in hosts.split(","))]
    ranks = [name for name, count in numbers for _ in range(count)]
    theirs = get_host_assignments(parse_hosts(hosts), len(ranks))
    assert [vars(slot) for slot in slots(ranks)] == [vars(slot) for slot in theirs]


def test_interface_is_named_only_where_the_process_group_has_one() -> None:
    slot = slots(["a", "a"])[1]
    here = variables(slot, "127.0.0.1", 4711, "lo")
    assert (here["HOROVOD_RANK"], here["HOROVOD_SIZE"], here["HOROVOD_GLOO_RENDEZVOUS_PORT"]) == ("1", "2", "4711")
    assert here["HOROVOD_GLOO_IFACE"] == "lo"
    assert "HOROVOD_GLOO_IFACE" not in variables(slot, "node0", 4711, None)


# Horovod's logic, with a stand-in of its optimizer


class Averaging(torch.optim.SGD):
    """What Horovod's optimizer is to its user: it notes what is asked of it and refuses what Horovod refuses."""

    def __init__(self, params: Any, named: list[tuple[str, Any]], compression: object):
        super().__init__(params)
        self.backward_passes_per_step, self._compression = 1, compression
        self._grad_accs = [name for name, _parameter in named]
        self.said: list[str] = []
        self.skips = False

    def set_backward_passes_per_step(self, passes: int) -> None:
        self.backward_passes_per_step = passes
        self.said.append("send" if passes == 1 else "keep")

    def synchronize(self) -> None:
        self.said.append("wait")

    @contextmanager
    def skip_synchronize(self) -> Iterator[None]:
        self.skips = True
        try:
            yield
        finally:
            self.skips = False

    def zero_grad(self) -> None:  # type: ignore[override]
        super().zero_grad()


@pytest.fixture
def hvd(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for `horovod.torch`, as far as the strategy uses it."""
    import harness.strategies.horovod as strategy

    module = ModuleType("horovod.torch")
    sent: list[set[str]] = []
    stand_in = {
        "sent": sent,
        "Average": object(),
        "Compression": SimpleNamespace(none=type("None_", (), {}), fp16=type("Fp16", (), {})),
        "size": lambda: 2,
        "broadcast_parameters": lambda state, root_rank: sent.append(set(state)),
        "DistributedOptimizer": lambda optimizer, named_parameters, compression, op: Averaging(
            optimizer.param_groups, named_parameters, compression
        ),
    }
    for name, value in stand_in.items():
        setattr(module, name, value)
    package = ModuleType("horovod")
    monkeypatch.setattr(package, "torch", module, raising=False)
    monkeypatch.setitem(sys.modules, "horovod", package)
    monkeypatch.setitem(sys.modules, "horovod.torch", module)
    monkeypatch.setattr(strategy, "meet", lambda: None)
    return module


def two_ranks() -> Place:
    return Place(open_device("cpu", 0), world_size=2, devices=2, accumulation=3)


def made(wrapped: Wrapped, model: nn.Module) -> Any:
    """The strategy's optimizer around a plain one, as `build_optimizer` asks for it."""
    assert wrapped.optimizer is not None
    groups = [{"params": list(model.parameters()), "weight_decay": 0.1}]
    return wrapped.optimizer(groups, lambda given: torch.optim.SGD(given, lr=0.1))


def wrong(wrapped: Wrapped) -> list[str]:
    """Facts of the strategy's own that differ from what was asked."""
    assert wrapped.observed is not None
    seen = {"wrapper": "none", "world_size": 2, "sharded": False, **wrapped.observed()}
    return [fact.fact for fact in compare(wrapped.expected, seen) if not fact.ok]


def test_only_the_last_micro_batch_sends_and_waits(hvd: ModuleType) -> None:
    model = nn.Linear(2, 2)
    wrapped = registry["horovod"].function(model, two_ranks())
    optimizer = made(wrapped, model)
    for step in range(2):
        for number in range(3):
            with wrapped.sync(number == 2):
                optimizer.said.append(f"{step}.{number}")
    once = ["keep", "{0}.0", "{0}.1", "send", "{0}.2", "wait"]
    assert optimizer.said == [said.format(step) for step in range(2) for said in once]
    assert optimizer.skips, "step must not average a second time, also after the context was forgotten"
    optimizer.zero_grad(set_to_none=True)
    assert hvd.sent == [set(model.state_dict())]


@pytest.mark.parametrize("compress", ["none", "fp16"])
def test_horovod_is_believed_only_where_each_parameter_carries_its_hook(hvd: ModuleType, compress: str) -> None:
    model = nn.Linear(2, 2)
    wrapped = registry["horovod"].function(model, two_ranks(), compress=compress)
    assert wrong(wrapped) == ["averaging", "averaging_ranks", *["gradient_compression"] * (compress == "fp16")]
    optimizer = made(wrapped, model)
    assert wrong(wrapped) == []
    assert wrapped.equivalence == (None if compress == "none" else "approximate")
    optimizer._grad_accs.pop()
    assert wrong(wrapped) == ["averaging"]
    optimizer._compression = object()
    assert "gradient_compression" in wrong(wrapped)


# DeepSpeed's logic, with a stand-in of its engine


class Engine(nn.Module):
    """What DeepSpeed's engine is to its user; it notes what is asked of it."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, config: dict[str, Any]):
        super().__init__()
        self.module, self.config = module, config
        part = nn.Parameter(torch.zeros(4))
        optimizer.param_groups[0]["params"] = [part]  # ZeRO puts its flat part there
        self.optimizer = type("DeepSpeedZeroOptimizer", (), {"partition_gradients": True, "clip_grad": -1.0})()
        self.said: list[Any] = []

    def set_gradient_accumulation_boundary(self, last: bool) -> None:
        self.said.append(last)

    def backward(self, loss: torch.Tensor, scale_wrt_gas: bool = True) -> None:
        assert not scale_wrt_gas, "the loss is of its share already"
        self.said.append("backward")

    def step(self) -> None:
        self.said.append(("step", self.optimizer.clip_grad))

    def get_global_grad_norm(self) -> float:
        return 1.5


@pytest.fixture
def engine_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Wrapped, nn.Module], Any]:
    """A stand-in for `deepspeed`; the function returned makes the optimizer and gives the engine."""
    package, ops, comm = ModuleType("deepspeed"), ModuleType("deepspeed.ops"), ModuleType("deepspeed.comm")
    for name, value in {
        "ops": ops,
        "comm": comm,
        "init_distributed": lambda: None,
        "initialize": lambda model, optimizer, config, dist_init_required: (Engine(model, optimizer, config), 0, 0, 0),
    }.items():
        setattr(package, name, value)
    inner = SimpleNamespace(cdb=SimpleNamespace(shm_comm_op=None))
    monkeypatch.setattr(comm, "comm", inner, raising=False)
    for name, module in (("deepspeed", package), ("deepspeed.ops", ops), ("deepspeed.comm", comm)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("LOCAL_RANK", "0")

    def make(wrapped: Wrapped, model: nn.Module) -> Any:
        optimizer = made(wrapped, model)
        assert group_facts(optimizer) == {"decayed_parameters": 6, "undecayed_parameters": 0}
        assert vars(ops)["__compatible_ops__"] == {}, "nothing may be compiled on CPU"
        return wrapped.model

    return make


def test_the_engine_is_told_of_accumulation_clipping_and_the_last_micro_batch(engine_of: Any) -> None:
    model = nn.Linear(2, 2)
    wrapped = registry["deepspeed"].function(model, two_ranks(), stage=2, bucket_cap_mb=1.0)
    engine = engine_of(wrapped, model)
    assert engine.config["gradient_accumulation_steps"] == 3
    assert engine.config["zero_optimization"]["stage"] == 2
    assert engine.config["zero_optimization"]["reduce_bucket_size"] == 2**18
    assert "torch_autocast" not in engine.config
    for last in (False, True):
        with wrapped.sync(last):
            wrapped.backward(torch.zeros(()))
    assert wrapped.update(0.5) == 1.5
    assert wrapped.update(None) == 1.5
    assert engine.said == [False, "backward", True, "backward", ("step", 0.5), ("step", 0.0)]


def test_stage_is_read_from_the_live_optimizer(engine_of: Any) -> None:
    model = nn.Linear(2, 2)
    wrapped = registry["deepspeed"].function(model, two_ranks(), stage=2)
    engine = engine_of(wrapped, model)
    assert wrapped.observed is not None
    assert wrapped.observed() == {
        "wrapper": "Engine", "zero_stage": 2, "sharded": False, "local_share": 1.0, "shared_memory_op": False
    }  # fmt: skip
    engine.optimizer.partition_gradients = False
    assert wrapped.observed()["zero_stage"] == 1
    engine.optimizer = None
    assert wrapped.observed()["zero_stage"] == 0
    assert stage_of(type("DeepSpeedZeroOptimizer_Stage3", (), {})()) == 3


def test_local_share_counts_what_is_in_memory_here() -> None:
    whole = nn.Parameter(torch.zeros(10))
    divided: Any = nn.Parameter(torch.zeros(0))
    divided.ds_numel, divided.ds_tensor = 30, torch.zeros(15)
    assert division([whole]) == {"sharded": False, "local_share": 1.0}
    assert division([whole, divided]) == {"sharded": True, "local_share": 25 / 40}


# For real


HOROVOD_CELLS: list[tuple[Any, str, dict[str, Any]]] = [
    ("horovod", "fp32", {}),
    ("horovod", "fp32", {"micro_batch": 8, "accumulation": 1}),
    ("horovod", "fp32", {"micro_batch": 2, "accumulation": 4, "recipe": SGD}),
    ("horovod", "bf16", {}),
    ("horovod", "fp16", {}),
    ({"name": "horovod", "compress": "fp16"}, "fp32", {}),
]
DEEPSPEED_CELLS: list[tuple[Any, str, dict[str, Any]]] = [
    ({"name": "deepspeed", "stage": 1}, "fp32", {}),
    ({"name": "deepspeed", "stage": 2}, "fp32", {"micro_batch": 2, "accumulation": 4, "recipe": SGD}),
    ({"name": "deepspeed", "stage": 3}, "fp32", {"micro_batch": 8, "accumulation": 1, "recipe": SGD}),
    ({"name": "deepspeed", "stage": 3}, "fp32", {"techniques": ["checkpointing"]}),
    ({"name": "deepspeed", "stage": 3}, "bf16", {}),
    ({"name": "deepspeed", "stage": 3, "persistence_threshold": 100}, "fp32", {}),
]


def check_cell(strategy: Any, precision: str, changes: dict[str, Any]) -> Record:
    record, series = execute(make_trial(strategy, 2, precision=precision, **changes))
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    assert record.parity.loss_error is not None
    assert record.parity.grad_norm_error is not None
    exact = precision == "fp32" and "compress" not in strategy
    assert record.parity.equivalence == ("reordered" if exact else "approximate")
    if exact:
        assert max(record.parity.loss_error, record.parity.grad_norm_error) < 1e-5
    assert record.evaluations, "a wrapped model must be able to be evaluated"
    assert len(series.columns["loss"]) == record.metrics["warmup_steps"] + 10
    assert record.per_rank[0].facts["decayed_parameters"] == 1600
    return record


@needs_horovod
@pytest.mark.processes
@pytest.mark.parametrize(("strategy", "precision", "changes"), HOROVOD_CELLS)
def test_horovod_trains_as_one_process_does(strategy: Any, precision: str, changes: dict[str, Any]) -> None:
    record = check_cell(strategy, precision, changes)
    assert found(record, "averaging") == "horovod"
    assert found(record, "averaging_ranks") == 2
    if "compress" in strategy:
        assert found(record, "gradient_compression") == "fp16"
        assert record.parity is not None
        assert record.parity.loss_error is not None
        assert record.parity.loss_error > 1e-7, "parity must see the compression at work"
    assert "Horovod" in record.per_rank[0].facts["absent"]["memory"]


@needs_deepspeed
@pytest.mark.processes
@pytest.mark.parametrize(("strategy", "precision", "changes"), DEEPSPEED_CELLS)
def test_deepspeed_trains_as_one_process_does(strategy: Any, precision: str, changes: dict[str, Any]) -> None:
    record = check_cell(strategy, precision, changes)
    assert found(record, "zero_stage") == strategy["stage"]
    assert 0.45 < found(record, "optimizer_state_share") < 0.6
    persistent = (32 + 32 + 64 + 2) if "persistence_threshold" in strategy else 0
    share = (1666 + persistent) / 2 / 1666 if strategy["stage"] == 3 else 1.0
    assert found(record, "local_share") == pytest.approx(share, abs=0.01)
    assert {"forward_s", "backward_s", "optimizer_s", "peak_allocated_bytes"} <= record.metrics.keys()


def status_of(strategy: Any, **changes: Any) -> Status:
    record, _series = execute(make_trial(strategy, 2, plugins=plugins("tiny", "engine_faults"), **changes))
    return record.status


@needs_horovod
@pytest.mark.processes
def test_horovod_that_does_nothing_is_seen() -> None:
    assert status_of("horovod_unused") is Status.NOT_APPLIED
    assert status_of("horovod_summed") is Status.PARITY_FAILED
    assert status_of("horovod_stated") is Status.PARITY_FAILED
    assert status_of("horovod_astray") is Status.OK, "rank 0's weights are sent to all"
    assert status_of({"name": "horovod_astray", "sent": False}) is Status.PARITY_FAILED


@needs_deepspeed
@pytest.mark.processes
def test_deepspeed_that_does_less_than_asked_is_seen() -> None:
    assert status_of("deepspeed_lower") is Status.NOT_APPLIED
    own_default = {"name": "deepspeed", "stage": 3, "persistence_threshold": 100_000}
    assert status_of(own_default) is Status.NOT_APPLIED, "nothing of a small model is divided"
    assert status_of("deepspeed_unclipped", recipe=SGD) is Status.PARITY_FAILED
