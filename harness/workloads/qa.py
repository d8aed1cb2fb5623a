"""Extractive question answering with a transformer encoder."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Workload, register
from harness.workloads.cloze import ANSWER_WORDS
from harness.workloads.reading import CONTEXT, LENGTH, PADDING, QUESTION, VOCABULARY, reading

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

TYPES = 3
IMPOSSIBLE = -1e9
"""score of a place that is none: finite, so that gradients are"""
OWN = {"vocabulary": VOCABULARY, "types": TYPES, "context": LENGTH}
BERT = {"vocabulary": 30522, "types": TYPES, "context": 512}
SIZES: dict[str, dict[str, Any]] = {
    "nano": {**OWN, "layers": 2, "width": 32, "heads": 2, "inner": 64},
    "micro": {**OWN, "layers": 3, "width": 96, "heads": 4, "inner": 384},
    "mini": {**OWN, "layers": 4, "width": 192, "heads": 6, "inner": 768},
    "tiny": {**BERT, "layers": 2, "width": 128, "heads": 2, "inner": 512},
    "small": {**BERT, "layers": 4, "width": 512, "heads": 8, "inner": 2048},
    "medium": {**BERT, "layers": 8, "width": 512, "heads": 8, "inner": 2048},
    "base": {**BERT, "layers": 12, "width": 768, "heads": 12, "inner": 3072},
    "large": {**BERT, "layers": 24, "width": 1024, "heads": 16, "inner": 4096},
}
OWN_SIZES = ("nano", "micro", "mini")
PUBLISHED_LR = {"tiny": 1e-3, "small": 5e-4, "medium": 3e-4, "base": 1e-4, "large": 5e-5}


@register(
    "qa",
    sizes=SIZES,
    unit="token",
    metric="exact_match",
    better="higher",
    target=0.5,
    recipe=Recipe(
        optimizer="adamw",
        lr=2e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 50}),
        weight_decay=0.01,
        clip=1.0,
    ),
    recipes={size: Recipe(lr=lr) for size, lr in PUBLISHED_LR.items()},
    global_batch=32,
    micro_batch=16,
    requires=("gensim",),
    size_requires=dict.fromkeys(PUBLISHED_LR, ("transformers",)),
    source="https://en.wikipedia.org (107 articles of a dump of 2015, in gensim's test data)",
    licence="CC-BY-SA-3.0",
    data_hashes={"4.4.0": "4454a8e4bad989737f900a2ee2559018a53e707a615d033a2165b10a7ca3ff68"},
    model=ModelFacts(
        traits=frozenset({"transformer"}),
        columns=("attention.q", "attention.k", "attention.v", "mlp.up"),
        rows=("attention.o", "mlp.down"),
    ),
)
def qa(
    size: str,
    *,
    match_types: bool = True,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Workload:
    """Where in three sentences the answer to a question is, with a transformer of 0.1 to 334 M parameters.

    Sentences of Wikipedia with a name or number blanked out (cloze); what stands where is in cloze.py. nano, micro and
    mini run on a CPU: an encoder with LayerNorm first and rotary positions over the 4000 most frequent words. tiny,
    small, medium, base and large are BERT's published shapes (4.4, 28.5, 41.1, 109 and 334 M parameters) with its
    vocabulary of 30522, of which the text uses the first ids, and one more type. The target is for micro after 320
    steps.
    match_types: the types tell which words of the context stand in the question too; without them that is to be found
    out, which 320 steps do not teach (a negative control). dropout: of embeddings, attention and both residual
    branches; stochastic_depth: largest share of samples for which a layer's branches are left out, linear over depth;
    label_smoothing: the share of the answer's probability that is spread over the context's places.
    A hand-written rule (the candidate with most of the question's words around it, none in it) finds more than the
    target: `Reading.by_rule`.
    Raises KeyError for a size that is not in `SIZES`.
    """
    data = reading()
    model = {**SIZES[size], "dropout": dropout, "stochastic_depth": stochastic_depth}
    train = _tensors(data.train, match_types)
    return Workload(
        build=lambda: _build(size, model),
        train=train,
        held_out=_tensors(data.held_out, match_types),
        loss=lambda model, batch: _loss(model, batch, label_smoothing),
        evaluate=_evaluate,
        units_per_sample=(train[0] != PADDING).sum(dim=1),
        blocks=_blocks(size),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=importlib.metadata.version("gensim"),
    )


def _tensors(samples: dict[str, Any], match_types: bool) -> Batch:
    """(tokens, types, spans, words); match_types: the types tell which words of the context are in the question."""
    import torch

    tokens, types, spans, words = (torch.from_numpy(samples[name]) for name in ("tokens", "types", "spans", "words"))
    return tokens, types if match_types else types.clamp(max=CONTEXT), spans, words


def _build(size: str, model: dict[str, Any]) -> nn.Module:
    from harness.workloads.models.reader import PublishedReader, Reader

    return Reader(**model) if size in OWN_SIZES else PublishedReader(**model)


def _blocks(size: str) -> tuple[type[nn.Module], ...]:
    if size in OWN_SIZES:
        from harness.workloads.models.transformer import EncoderLayer

        return (EncoderLayer,)
    from transformers.models.bert.modeling_bert import BertLayer

    return (BertLayer,)


def _log_shares(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log probability of each place as first and last, fp32, (batch, time, 2), and which places are of the context."""
    tokens, types = batch[:2]
    possible = (types != QUESTION).unsqueeze(-1)
    scores: Tensor = model(tokens, types).float()
    return scores.masked_fill(~possible, IMPOSSIBLE).log_softmax(dim=1), possible


def _loss(model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
    """Mean of two cross-entropies, of the first and the last place; smoothing is spread over the context's places."""
    shares, possible = _log_shares(model, batch)
    nats = -shares.gather(1, batch[2].unsqueeze(1)).mean()
    if label_smoothing == 0:
        return nats
    spread = -(shares.masked_fill(~possible, 0).sum(dim=1) / possible.sum(dim=1)).mean()
    return (1 - label_smoothing) * nats + label_smoothing * spread


def _evaluate(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    import torch

    _tokens, _types, spans, words = batch
    found = best_spans(_log_shares(model, batch)[0])
    exact, f1 = 0.0, 0.0
    for row, (first, last), (begin, end) in zip(words.tolist(), found.tolist(), spans.tolist(), strict=True):
        answer, wanted = compared(row, first, last), compared(row, begin, end)
        exact += answer == wanted
        f1 += shared(answer, wanted)
    return {"exact_match": (torch.tensor(exact), len(words)), "f1": (torch.tensor(f1), len(words))}


def best_spans(scores: Tensor) -> Tensor:
    """First and last place, (batch, 2), with the highest sum of scores among spans of one to four words."""
    import torch

    time = scores.shape[1]
    both = scores[:, :, None, 0] + scores[:, None, :, 1]
    length = torch.ones(time, time, dtype=torch.bool, device=scores.device)
    possible = length.triu() & ~length.triu(ANSWER_WORDS)
    best = both.masked_fill(~possible, -torch.inf).flatten(1).argmax(dim=1)
    return torch.stack((best // time, best % time), dim=1)


def compared(words: list[int], first: int, last: int) -> list[int]:
    """The words of a span that count: no punctuation, no articles."""
    return [word for word in words[first : last + 1] if word]


def shared(answer: list[int], wanted: list[int]) -> float:
    """F1 of two answers as bags of words: 2 × common ÷ (words of both).

    Source: https://arxiv.org/abs/1606.05250 (SQuAD)
    """
    common = (Counter(answer) & Counter(wanted)).total()
    return 2 * common / (len(answer) + len(wanted))
