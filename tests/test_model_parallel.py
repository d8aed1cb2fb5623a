"""One model over several ranks: the same maths as one process, seen on live objects, and wrong where it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from harness.machine.device import open_device
from harness.machine.inventory import Inventory
from harness.run.plan import make_plan
from harness.schema.record import Record, Status, StepSeries
from harness.schema.suite import Choice, Suite
from harness.strategies import ModelFacts, Place, Unsupported
from harness.strategies import registry as strategies
from harness.strategies.modules.stage import Stage, inputs_of, loss_of
from harness.strategies.pipeline import _let_go, cut
from harness.strategies.tensor_parallel import divided
from harness.strategies.whole_model import scaler_of_all_ranks
from harness.workloads import registry as workloads
from tests.conftest import execute, make_trial, plugins

STEPS = 10
"""steps over which one process and several must stay within 1e-5"""
GPT: dict[str, Any] = {"workload": "gpt", "size": "nano", "global_batch": 16, "micro_batch": 4}
SHORT = {**GPT, "workload": {"name": "gpt", "context": 16}}
"""for what a CPU computes slowly"""
RESNET: dict[str, Any] = {"workload": "resnet", "size": "nano", "global_batch": 32, "micro_batch": 8}
ONE_F_ONE_B = {"name": "pipeline", "schedule": "1f1b"}
META = {"name": "fsdp", "meta_init": True}
_RAN: dict[str, tuple[Record, StepSeries]] = {}


def run(strategy: Any, ranks: int, about: dict[str, Any], **changes: Any) -> tuple[Record, StepSeries]:
    """Execute as a plan would, each trial once: the workload's own recipe, ranks of one model taking the same data."""
    choice = Choice.model_validate(strategy)
    plugs = plugins("tiny", "no_ops", "model_faults")
    facts = strategies[choice.name].facts
    together = facts.model_ranks(ranks, **choice.options) if facts.model_ranks else 1
    asked = {**about, "steps": 3, "warmup_steps": STEPS, "parity_steps": STEPS, **changes}
    workload = Choice.model_validate(asked["workload"])
    asked.setdefault("recipe", workloads[workload.name].facts.recipe_for(asked["size"]))
    shares = asked["micro_batch"] * (ranks // together)
    trial = make_trial(
        strategy, ranks, model_ranks=together, accumulation=asked["global_batch"] // shares, plugins=plugs, **asked
    )
    if trial.id not in _RAN:
        _RAN[trial.id] = execute(trial)
    return _RAN[trial.id]


def facts_of(record: Record) -> dict[str, Any]:
    return {fact.fact: fact.found for fact in record.applied}


def worst(record: Record) -> float:
    """The largest relative difference of loss or gradient norm to one process in all parity steps."""
    assert record.parity is not None
    pairs = [
        *zip(record.parity.loss, record.parity.reference_loss, strict=True),
        *zip(record.parity.grad_norm, record.parity.reference_grad_norm, strict=True),
    ]
    assert len(pairs) == 2 * STEPS
    return max(abs(value - other) / abs(other) for value, other in pairs)


processes = pytest.mark.processes


@processes
@pytest.mark.parametrize(
    ("strategy", "ranks", "about"),
    [
        ("tensor_parallel", 2, GPT),
        ("tensor_parallel", 2, {**GPT, "micro_batch": 16}),
        ("fsdp_tp", 4, GPT),
        ({"name": "fsdp_tp", "reshard_after_forward": False}, 4, {**GPT, "micro_batch": 8}),
        ("pipeline", 2, GPT),
        ("pipeline", 2, {**GPT, "micro_batch": 16}),
        (ONE_F_ONE_B, 3, GPT),
        ("pipeline", 2, RESNET),
        (ONE_F_ONE_B, 4, RESNET),
        (META, 2, GPT),
        (META, 2, RESNET),
    ],
)
def test_ten_steps_are_those_of_one_process(strategy: Any, ranks: int, about: dict[str, Any]) -> None:
    record, series = run(strategy, ranks, about)
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert (record.parity.status, record.parity.equivalence) == ("passed", "reordered")
    assert worst(record) <= 1e-5
    assert len(series.columns["loss"]) == STEPS + 3
    assert record.metrics["window_samples"] == 3 * about["global_batch"]
    assert "peak_allocated_bytes" in record.metrics, record.per_rank[0].facts.get("absent")


@processes
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(("strategy", "ranks"), [("tensor_parallel", 2), ("fsdp_tp", 4), (ONE_F_ONE_B, 2), (META, 2)])
def test_autocast_and_checkpointing_reach_every_rank(strategy: Any, ranks: int, precision: str) -> None:
    record, _series = run(strategy, ranks, SHORT, precision=precision, techniques=["checkpointing"])
    assert record.status is Status.OK, record.reason
    facts = facts_of(record)
    assert facts["checkpointed_blocks"] == 2, "of all stages together"
    assert facts["compute_dtype"] == {"bf16": "bfloat16", "fp16": "float16"}[precision]
    assert record.parity is not None
    assert record.parity.status == "passed"
    assert worst(record) > 1e-7, "parity must see the other precision at work"


@processes
def test_compiled_blocks_are_called_in_every_stage_that_has_some() -> None:
    about = {"workload": "plain", "size": "only", "global_batch": 16, "micro_batch": 4}
    record, _series = run("pipeline", 2, about, techniques=["compile"])
    assert record.status is Status.OK, record.reason
    assert record.parity is not None
    assert record.parity.status == "passed"
    facts = facts_of(record)
    assert facts["pieces_per_stage"] == "2+1"
    assert facts["compiled_calls"] == 2 * 4, "of the first stage: two blocks in each of four micro-batches"
    whole, _series = run("pipeline", 2, SHORT, techniques=[{"name": "compile", "scope": "model"}])
    assert whole.status is Status.UNSUPPORTED
    assert "never the whole" in (whole.reason or "")


@processes
def test_selective_checkpointing_is_asked_of_stages_with_blocks_only() -> None:
    record, _series = run(ONE_F_ONE_B, 4, SHORT, techniques=[{"name": "checkpointing", "keep": "products"}])
    assert record.status is Status.OK, record.reason
    assert facts_of(record)["checkpointed_blocks"] == 2


@processes
def test_evaluation_is_that_of_one_process_and_known_to_rank_0() -> None:
    for about, name in ((GPT, "eval_nats_per_char"), (RESNET, "eval_accuracy")):
        single, _series = run("single", 1, about)
        for strategy in ("pipeline", *(["tensor_parallel"] if about is GPT else [])):
            record, _series = run(strategy, 2, about)
            assert record.metrics[name] == pytest.approx(single.metrics[name], rel=1e-4)


@processes
def test_what_each_rank_holds_is_read_from_the_live_objects() -> None:
    tensor = facts_of(run("tensor_parallel", 2, GPT)[0])
    assert (tensor["tensor_parallel_layers"], tensor["tensor_parallel_ranks"]) == (12, 2)
    assert tensor["tensor_parallel_share"] == 0.5
    assert 0.5 < tensor["local_share"] < 0.6, "norms, biases of rows and embedding are whole"
    both = facts_of(run("fsdp_tp", 4, GPT)[0])
    assert (both["tensor_parallel_layers"], both["tensor_parallel_ranks"], both["wrapper"]) == (12, 2, "FSDPModule")
    assert 0.25 < both["local_share"] < 0.3
    stages, _series = run(ONE_F_ONE_B, 3, GPT)
    facts = facts_of(stages)
    assert (facts["pipeline_stages"], facts["pipeline_schedule"]) == (3, "Schedule1F1B")
    assert (facts["pieces_per_stage"], facts["pipeline_micro_batches"]) == ("2+1+1", 4)
    assert facts["optimizer_state_share"] == facts["local_share"] < 0.6


@processes
def test_parts_of_a_pipelines_step_are_timed_as_one_with_the_reason() -> None:
    record, _series = run("pipeline", 2, GPT)
    assert record.metrics["forward_backward_s"] > 0
    assert not {"forward_s", "backward_s"} & record.metrics.keys()
    assert "in turn" in record.per_rank[0].facts["absent"]["forward_s"]
    assert {"data_wait_s", "optimizer_s", "peak_rss_bytes"} <= record.metrics.keys()


@processes
def test_gpipe_keeps_more_activations_than_1f1b() -> None:
    asked = {**GPT, "global_batch": 32}
    kept = {
        order: run({"name": "pipeline", "schedule": order}, 2, asked)[0].metrics["memory_activations_bytes"]
        for order in ("gpipe", "1f1b")
    }
    assert kept["gpipe"] > 1.5 * kept["1f1b"]


@processes
@pytest.mark.parametrize("strategy", ["tensor_parallel", "pipeline"])
def test_planted_overflow_is_skipped_by_all_ranks_alike(strategy: str) -> None:
    asked = {"name": "fp16", "init_scale": 2.0**24}
    record, series = run(strategy, 2, SHORT, precision=asked)
    single, _series = run("single", 1, SHORT, precision=asked)
    assert record.status is Status.OK, record.reason
    assert record.metrics["skipped_steps"] == single.metrics["skipped_steps"] > 0
    assert len({rank.metrics["loss_scale"] for rank in record.per_rank}) == 1
    assert series.columns["loss_scale"][0] == 2.0**23


class Overflow:
    """Ranks elsewhere whose gradients overflow."""

    def __init__(self, found: float):
        self.found = found

    def all_reduce(self, tensor: torch.Tensor, op: object = None) -> None:
        tensor.clamp_(min=self.found)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_overflow_on_another_rank_skips_the_step_here(found: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", Overflow(found).all_reduce)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = scaler_of_all_ranks("cpu", init_scale=4.0)
    scaler.scale(weight.sum()).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == ([1.0, 1.0] if found else [0.0, 0.0])
    assert scaler.get_scale() == (2.0 if found else 4.0)


# Planted faults


@processes
@pytest.mark.parametrize(
    ("strategy", "ranks"),
    [
        ("rows_unreduced", 2),
        ("one_data_for_each", 4),
        ("pipeline_scaled", 2),
        ("pipeline_untied", 2),
        ("pipeline_counts_twice", 2),
        ("meta_empty", 2),
    ],
)
def test_wrong_maths_of_a_divided_model_fails_parity(strategy: str, ranks: int) -> None:
    record, _series = run(strategy, ranks, GPT)
    assert record.status is Status.PARITY_FAILED, record.reason


@processes
@pytest.mark.parametrize(
    ("strategy", "fact"),
    [
        ("nothing_parallel", "tensor_parallel_layers"),
        ("pipeline_whole", "local_share"),
        ("pipeline_other_order", "pipeline_schedule"),
        ("not_on_meta", "built_on_meta"),
    ],
)
def test_division_that_does_nothing_is_not_applied(strategy: str, fact: str) -> None:
    record, _series = run(strategy, 2, GPT)
    assert record.status is Status.NOT_APPLIED, record.reason
    assert fact in (record.reason or "")


@processes
def test_each_stage_draws_its_own_dropout_masks() -> None:
    record, _series = run("pipeline_seeds", 2, GPT)
    assert record.status is Status.OK, record.reason
    planted, _series = run({"name": "pipeline_seeds", "same": True}, 2, GPT)
    assert planted.status is Status.NOT_APPLIED


# What only the built model tells


def place_of(pieces: Any, ranks: int) -> Place:
    return Place(open_device("cpu", 0), world_size=ranks, model=ModelFacts(pieces=pieces))


def three() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def test_pieces_are_dealt_out_evenly_and_the_first_stages_take_what_is_left() -> None:
    layers = nn.Sequential(*(nn.Linear(2, 2) for _ in range(7)))
    assert [len(stage) for stage in cut(layers, place_of(list, 3))] == [3, 2, 2]


@pytest.mark.parametrize(
    ("pieces", "ranks", "said"),
    [
        (lambda model: [model[0], model[1]], 2, r"leave out parameters: 2\.weight, 2\.bias"),
        (list, 4, "4 stages need as many pieces: the model has 3"),
        (list, 3, "stage 1 of 3 has nothing to train"),
        (None, 2, "does not say which pieces"),
    ],
)
def test_pieces_that_make_no_stages_are_unsupported(pieces: Any, ranks: int, said: str) -> None:
    with pytest.raises(Unsupported, match=said):
        cut(three(), place_of(pieces, ranks))


def test_memory_of_other_stages_is_let_go_whoever_refers_to_it() -> None:
    model = three()
    elsewhere = model[2].weight
    _let_go(model, Stage([model[0], model[1]]))
    assert elsewhere.numel() == 0
    assert model[0].weight.numel() == 16


def test_loss_is_asked_for_its_input_and_answered_with_the_output() -> None:
    rows, labels = torch.randn(4, 4), torch.tensor([0, 1, 1, 0])

    def loss(model: Any, batch: Any) -> Any:
        return nn.functional.cross_entropy(model(batch[0] * 2), batch[1])

    model = three()
    inputs, named = inputs_of(loss, (rows, labels))
    assert torch.equal(inputs[0], rows * 2)
    assert named == {}
    assert torch.equal(loss_of(loss, model(*inputs), (rows, labels)), loss(model, (rows, labels)))


def test_loss_that_calls_its_model_never_or_twice_is_unsupported() -> None:
    batch = (torch.zeros(1, 4),)
    with pytest.raises(Unsupported, match="does not call its model"):
        inputs_of(lambda _model, batch: batch[0].sum(), batch)
    with pytest.raises(Unsupported, match="calls its model 2 times"):
        loss_of(lambda model, batch: model(batch[0]).sum() + model(batch[0]).sum(), batch[0], batch)


@pytest.mark.parametrize(
    ("columns", "model", "said"),
    [
        (("0",), nn.Sequential(nn.Bilinear(4, 4, 4)), "0 is a Bilinear: tensor parallelism divides nn.Linear only"),
        (("0",), nn.Sequential(nn.Linear(4, 3)), "the 3 columns of 0 do not divide"),
        (("q",), nn.Sequential(nn.Linear(4, 4)), "no layer of the model has one of the names"),
    ],
)
def test_layers_that_cannot_be_divided_are_unsupported(columns: tuple[str, ...], model: nn.Module, said: str) -> None:
    class Mesh:
        def size(self) -> int:
            return 2

    mesh: Any = Mesh()
    facts = ModelFacts(columns=columns, rows=("o",))
    with pytest.raises(Unsupported, match=said):
        divided(model, Place(open_device("cpu", 0), world_size=2, model=facts), mesh)


# What planning knows


@pytest.mark.parametrize("name", ["gpt", "resnet"])
def test_workloads_know_how_many_pieces_their_models_have(name: str) -> None:
    from harness.workloads.models.gpt import GPT as Model
    from harness.workloads.models.resnet import ResNet

    facts = workloads[name].facts
    assert facts.model.pieces is not None
    assert facts.model.piece_count is not None
    for shape in facts.sizes.values():
        with torch.device("meta"):
            model: nn.Module = (
                Model(**{"vocabulary": 50, **shape}) if name == "gpt" else ResNet(channels=1, classes=10, **shape)
            )
        pieces = facts.model.pieces(model)
        assert len(pieces) == facts.model.piece_count(shape)
        held = {id(parameter) for piece in pieces for parameter in piece.parameters()}
        assert held == {id(parameter) for parameter in model.parameters()}


def reason(devices: int, strategy: Any, **fixed: Any) -> str | None:
    """Why a cell cannot run, from the plan of a machine with eight cores."""
    asked = {"workload": "gpt", "size": "nano", "strategy": strategy, "devices": devices, **fixed}
    suite = Suite.model_validate({"question": "q", "fixed": asked, "budget": {"repeats": 1}})
    plan = make_plan(suite, Inventory(cores=list(range(8))))
    return plan.unsupported[0][1] if plan.unsupported else None


@pytest.mark.parametrize(
    ("devices", "strategy", "fixed", "said"),
    [
        (2, "tensor_parallel", {"workload": "resnet"}, "workload resnet does not say which linear layers"),
        (8, "tensor_parallel", {"global_batch": 64}, "4 attention heads do not divide among 8 ranks"),
        (4, "fsdp_tp", {"workload": "resnet", "global_batch": 256}, "workload resnet does not say"),
        (6, {"name": "fsdp_tp", "tensor_ranks": 6}, {}, "two groups of tensor_ranks 6: 6 devices do not divide"),
        (5, "pipeline", {}, "5 stages need as many pieces: gpt has 4 at this size"),
        (4, ONE_F_ONE_B, {}, "global_batch ÷ micro_batch is 2, stages 4"),
    ],
)
def test_what_cannot_be_divided_is_unsupported_with_the_reason(
    devices: int, strategy: Any, fixed: dict[str, Any], said: str
) -> None:
    assert said in (reason(devices, strategy, **fixed) or "it can run")


def test_what_divides_can_run_and_its_ranks_take_the_same_data() -> None:
    for devices, strategy in ((4, "tensor_parallel"), (4, "pipeline"), (2, ONE_F_ONE_B), (4, "fsdp_tp"), (2, META)):
        assert reason(devices, strategy) is None
    suite = {"question": "q", "fixed": {"workload": "gpt", "strategy": "fsdp_tp", "devices": 4}}
    (trial,) = make_plan(Suite.model_validate({**suite, "budget": {"repeats": 1}}), Inventory(cores=[0] * 4)).trials
    assert (trial.processes, trial.model_ranks, trial.data_ranks, trial.accumulation) == (4, 2, 2, 1)
