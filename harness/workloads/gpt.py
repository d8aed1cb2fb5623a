"""Language modelling of characters with a GPT."""

from __future__ import annotations

import platform
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Workload, register
from harness.workloads.text import PASSAGE, characters, evenly, trivial, windows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

SIZES: dict[str, dict[str, Any]] = {
    "nano": {"layers": 2, "width": 64, "heads": 4, "context": 64, "rotary": True},
    "micro": {"layers": 2, "width": 96, "heads": 4, "context": 128, "rotary": True},
    "mini": {"layers": 4, "width": 256, "heads": 8, "context": 256, "rotary": True},
    "small": {"layers": 12, "width": 768, "heads": 12, "context": 1024, "vocabulary": 50257},
    "medium": {"layers": 24, "width": 1024, "heads": 16, "context": 1024, "vocabulary": 50257},
    "large": {"layers": 36, "width": 1280, "heads": 20, "context": 1024, "vocabulary": 50257},
    "xl": {"layers": 48, "width": 1600, "heads": 25, "context": 1024, "vocabulary": 50257},
}
PUBLISHED_LR = {"small": 6e-4, "medium": 3e-4, "large": 2.5e-4, "xl": 2e-4}
"""peak learning rates of models of these sizes: table 2.1 of https://arxiv.org/abs/2005.14165"""
HELD_OUT_WINDOWS = 64
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


@register(
    "gpt",
    sizes=SIZES,
    unit="token",
    metric="nats_per_char",
    better="lower",
    target=1.60,
    recipe=Recipe(
        optimizer="adamw",
        lr=4e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 20}),
        weight_decay=0.1,
        clip=1.0,
    ),
    recipes={size: Recipe(lr=lr) for size, lr in PUBLISHED_LR.items()},
    global_batch=16,
    micro_batch=8,
    source="https://docs.python.org/3/reference/ (pydoc_data.topics of the standard library)",
    licence="PSF-2.0",
    data_hashes={"3.11.7": "d789009d9bd16559c7a36db12ffe1a1e9db39ff5b5d7bf238c1a1f1815fd2813"},
    model=ModelFacts(
        traits=frozenset({"transformer"}),
        columns=("attention.q", "attention.k", "attention.v", "mlp.up"),
        rows=("attention.o", "mlp.down"),
        pieces=lambda model: model.pieces(),
        piece_count=lambda shape: shape["layers"] + 2,
    ),
)
def gpt(
    size: str,
    *,
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    label_smoothing: Share = 0.0,
    context: Annotated[int, Field(ge=8, le=PASSAGE)] | None = None,
) -> Workload:
    """Next character of the Python language reference, with a GPT of 0.1 M to 1.6 G parameters.

    A token is a character. nano, micro and mini run on a CPU: GPT-2's blocks with rotary positions and the text's own
    vocabulary. small, medium, large and xl are GPT-2's published shapes (124, 355, 774 and 1558 M parameters) with its
    vocabulary of 50257, of which the text uses the first ids: their arithmetic and memory are the published ones,
    what they learn is this text. The target is for micro after 400 steps.
    dropout: of embeddings, attention and both residual branches; stochastic_depth: largest drop rate of a block's two
    residual branches, linear over depth; label_smoothing: share of the target that is spread over the vocabulary, in
    training; context: characters a prediction can see, left out:
    the size's own. Held-out evaluation takes 64 windows evenly spread over the held-out passages, so that it is cheap.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    from harness.workloads.models.gpt import GPT, Block

    data = characters()
    rates = {"dropout": dropout, "stochastic_depth": stochastic_depth}
    model = {"vocabulary": data.vocabulary, **rates, **SIZES[size]}
    model["context"] = length = context or model["context"]
    held_out = evenly(windows(data.held_out, length), HELD_OUT_WINDOWS)
    return Workload(
        build=lambda: GPT(**model),
        train=(torch.from_numpy(windows(data.train, length)),),
        held_out=(torch.from_numpy(held_out),),
        loss=partial(_loss, label_smoothing=label_smoothing),
        evaluate=_evaluate,
        units_per_sample=length,
        blocks=(Block,),
        trivial=trivial(data, held_out),
        data_hash=data.data_hash,
        data_version=platform.python_version(),
    )


def _loss(model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    from torch.nn import functional

    (ids,) = batch
    logits = model(ids[:, :-1])
    targets = ids[:, 1:].flatten()
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets, label_smoothing=label_smoothing)


def _evaluate(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    predictions = batch[0].shape[0] * (batch[0].shape[1] - 1)
    return {"nats_per_char": (_loss(model, batch) * predictions, predictions)}
