"""Planted no-ops: precisions, techniques and strategies that say they do something and do nothing, or half of it."""

import os
from dataclasses import replace
from types import MethodType
from typing import Any

from harness import strategies, workloads
from harness.recipes.optimizers import register as optimizer
from harness.schema.suite import Recipe
from harness.strategies import ModelFacts, Place, Wrapped
from harness.strategies.precision import Precision, precisions
from harness.strategies.techniques import Adapted, techniques


def _precision(name: str) -> Precision:
    made: Precision = precisions[name].function()
    return made


def _technique(name: str, model: Any, place: Place, **options: Any) -> Adapted:
    made: Adapted = techniques[name].function(model, place, **options)
    return made


# precisions


@precisions.register("tf32_off", equivalence="approximate")
def tf32_off() -> Precision:
    """Leaves the flags as they are."""
    return replace(_precision("tf32"), convert=None)


@precisions.register("weights_kept", equivalence="approximate")
def weights_kept() -> Precision:
    """Converts inputs and leaves the weights in fp32, as autocast around them does."""
    return replace(_precision("bf16_weights"), autocast="bfloat16", convert=None, inputs=None)


@precisions.register("float8_nowhere", equivalence="approximate")
def float8_nowhere() -> Precision:
    """Says that layers became float8 layers; there are none."""
    return Precision(expected={"float8_modules": 2}, observed=lambda _model: {"float8_modules": 0})


@strategies.register("wide_state", processes="one", equivalence="approximate")
def wide_state(model: Any, place: Place) -> Wrapped:
    """An optimizer that keeps its state in fp32 beside weights in bf16."""
    import torch

    def own(groups: Any, construct: Any) -> Any:
        made = construct(groups)
        step = made.step

        def cast(dtype: torch.dtype) -> None:
            for state in made.state.values():
                state |= {name: value.to(dtype) for name, value in state.items() if value.ndim}

        def short_and_wide(_optimizer: Any) -> None:
            cast(torch.bfloat16)
            step()
            cast(torch.float32)

        made.step = MethodType(short_and_wide, made)
        return made

    return Wrapped(model, optimizer=own)


@strategies.register("policy_off", processes="per_device", min_devices=2, equivalence="approximate")
def policy_off(model: Any, place: Place) -> Wrapped:
    """FSDP that says it computes in bfloat16 and has no policy."""
    wrapped: Wrapped = strategies.registry["fsdp"].function(model, place)
    return replace(wrapped, expected=wrapped.expected | {"compute_dtype": "bfloat16"})


@optimizer("unfused", class_name="AdamW")
def unfused(groups: Any, lr: float, *, fused: bool | None = None, foreach: bool | None = None) -> Any:
    """Takes the option and does nothing with it."""
    from torch.optim import AdamW

    return AdamW(groups, lr=lr)


# techniques


@techniques.register("layout_kept", equivalence="approximate")
def layout_kept(model: Any, place: Place) -> Adapted:
    """Channels last, and then the kernels are laid out by rows again."""
    import torch

    adapted = _technique("channels_last", model, place)
    model.to(memory_format=torch.contiguous_format)
    return replace(adapted, inputs=None)


@techniques.register("layout_undone", equivalence="approximate")
def layout_undone(model: Any, place: Place) -> Adapted:
    """Channels last, and what each convolution makes is laid out by rows again."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: output.contiguous())
    return _technique("channels_last", model, place)


@techniques.register("keeps_nothing", equivalence="exact")
def keeps_nothing(model: Any, place: Place) -> Adapted:
    """Plain checkpointing that says it keeps the results of products."""
    adapted = _technique("checkpointing", model, place)
    return replace(adapted, expected=adapted.expected | {"kept_products": True})


@techniques.register("keeps_to_forget", equivalence="exact")
def keeps_to_forget(model: Any, place: Place) -> Adapted:
    """Selective checkpointing whose policy is asked and not followed: all is computed again."""
    from torch.utils import checkpoint

    make = checkpoint.create_selective_checkpoint_contexts

    def unfollowed(policy: Any) -> Any:
        def ask(*arguments: Any, **keywords: Any) -> Any:
            policy(*arguments, **keywords)
            return checkpoint.CheckpointPolicy.PREFER_RECOMPUTE

        return make(ask)

    checkpoint.create_selective_checkpoint_contexts = unfollowed
    return _technique("checkpointing", model, place, keep="products")


@techniques.register("forgets_nothing", equivalence="exact")
def forgets_nothing(model: Any, place: Place) -> Adapted:
    """Says that blocks are checkpointed and leaves them as they are."""
    return Adapted({"checkpointed_blocks": 3})


@techniques.register("stays_on_device", equivalence="exact")
def stays_on_device(model: Any, place: Place) -> Adapted:
    """Activation offload whose wrappers are taken off again."""
    adapted = _technique("activation_offload", model, place)
    for name, child in model.named_children():
        setattr(model, name, getattr(child, "_checkpoint_wrapped_module", child))
    return adapted


@techniques.register("compile_not", equivalence="reordered")
def compile_not(model: Any, place: Place, *, how: str = "disabled") -> Adapted:
    """torch.compile that is switched off, falls back to plain Python, or leaves all but one block aside."""
    import torch._dynamo.config as dynamo
    from torch._inductor import compile_fx

    def fails(*_arguments: Any, **_keywords: Any) -> Any:
        raise RuntimeError("planted: nothing can be compiled")

    if how == "variable":
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
    adapted = _technique("compile", model, place)
    if how == "disabled":
        dynamo.disable = True
    if how == "suppressed":
        dynamo.suppress_errors = True
        compile_fx.compile_fx = fails
    if how == "limit":
        dynamo.recompile_limit = 1
    return adapted


@workloads.register(
    "plain",
    sizes={"only": {}},
    unit="row",
    metric="error",
    better="lower",
    target=0.0,
    recipe=Recipe(optimizer="adamw", lr=1e-2, schedule="constant", weight_decay=0.0, clip="off"),
    global_batch=16,
    micro_batch=4,
    model=ModelFacts(pieces=list, piece_count=lambda _shape: 3),
)
def plain(size: str, *, stretch: int = 0) -> workloads.Workload:
    """Blocks that are one matrix product each, which are compiled without a C++ compiler's minute.

    stretch: after so many micro-batches (0: never) each is one row longer, and compiled code fits no more.
    """
    import torch
    from torch import nn

    rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    calls = 0

    def loss(model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        longer = int(0 < stretch < calls)
        return model(torch.cat([batch[0], batch[0][:1].expand(longer, -1)])).square().mean()

    def evaluate(model: Any, batch: Any) -> Any:
        return {"error": (model(batch[0]).square().sum(), len(batch[0]))}

    def build() -> Any:
        return nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(2)), nn.Linear(8, 4, bias=False))

    return workloads.Workload(
        build=build, train=(rows,), held_out=(rows[:40],), loss=loss, evaluate=evaluate, blocks=(nn.Linear,)
    )
