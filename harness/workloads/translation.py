"""Translation of short strings with an encoder-decoder transformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Predictions, Workload, register
from harness.workloads.translated import BEGIN, PADDING, TARGET_LENGTH, VOCABULARY, Translated, translated, version

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

OWN = {"vocabulary": VOCABULARY, "context": TARGET_LENGTH, "heads": 4}
PUBLISHED = {"vocabulary": 37000, "context": 512, "layers": 6}
SIZES: dict[str, dict[str, Any]] = {
    "nano": {**OWN, "layers": 1, "width": 48, "inner": 96},
    "micro": {**OWN, "layers": 2, "width": 96, "inner": 192},
    "mini": {**OWN, "layers": 3, "width": 192, "inner": 768},
    "base": {**PUBLISHED, "width": 512, "heads": 8, "inner": 2048},
    "big": {**PUBLISHED, "width": 1024, "heads": 16, "inner": 4096},
}


@register(
    "translation",
    sizes=SIZES,
    unit="token",
    metric="nats_per_token",
    better="lower",
    target=1.5,
    recipe=Recipe(
        optimizer="adamw",
        lr=3e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 60}),
        weight_decay=0.01,
        clip=1.0,
    ),
    recipes={"base": Recipe(lr=7e-4), "big": Recipe(lr=5e-4)},
    global_batch=64,
    micro_batch=32,
    requires=("babel", "tokenizers", "sacrebleu"),
    size_requires={"base": ("transformers",), "big": ("transformers",)},
    source="https://cldr.unicode.org (locale data of English and French, in Babel)",
    licence="Unicode-3.0",
    data_hashes={"2.18.0, tokenizers 0.23.3": "efd55dca40fec2156e8346e8f97fec78b3748e5e68f4edd5b661cfd2e53c4201"},
    model=ModelFacts(
        traits=frozenset({"transformer"}),
        columns=("attention.q", "attention.k", "attention.v", "mlp.up"),
        rows=("attention.o", "mlp.down"),
    ),
)
def translation(
    size: str,
    *,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Workload:
    """English dates, amounts, measures and names into French, with a transformer of 0.1 to 216 M parameters.

    A token is one of 1000 byte pairs of both languages; target tokens are counted, padding is not. nano, micro and mini
    run on a CPU: LayerNorm first, learned positions and, within a language, rotary ones; one embedding for source,
    target and output. base and big are the published shapes (64 and 216 M parameters) with a vocabulary of 37000, of
    which the strings use the first ids. The target is for micro after 400 steps.
    dropout: of embeddings, attention and residual branches; stochastic_depth: largest share of samples for which a
    layer's branches are left out, linear over depth; label_smoothing: the share of a token's probability that is spread
    over all tokens. After the last step the held-out sources are translated, the likeliest token each time (greedy):
    BLEU, chrF and the share that is the French string exactly. Copying the source finds 2.8 % of those
    (`Translated.copied`).
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    data = translated()
    model = {**SIZES[size], "dropout": dropout, "stochastic_depth": stochastic_depth}
    lengths = torch.from_numpy((data.train_target[:, 1:] != PADDING).sum(axis=1))
    per_sample = float(lengths.double().mean())
    return Workload(
        build=lambda: _build(size, model),
        train=(torch.from_numpy(data.train_source), torch.from_numpy(data.train_target)),
        held_out=(torch.from_numpy(data.held_out_source), torch.from_numpy(data.held_out_target)),
        loss=lambda model, batch: _nats(model, batch, label_smoothing) / (len(batch[0]) * per_sample),
        evaluate=_evaluate,
        units_per_sample=lengths,
        blocks=_blocks(size),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=version(),
        predictions=Predictions(_decode, partial(_score, data), always=False),
    )


def _build(size: str, model: dict[str, Any]) -> nn.Module:
    from harness.workloads.models.translator import PublishedTranslator, Translator

    return PublishedTranslator(**model) if size in ("base", "big") else Translator(**model)


def _blocks(size: str) -> tuple[type[nn.Module], ...]:
    from harness.workloads.models.transformer import EncoderLayer
    from harness.workloads.models.translator import DecoderLayer

    if size not in ("base", "big"):
        return (EncoderLayer, DecoderLayer)
    from transformers.models.marian.modeling_marian import MarianDecoderLayer, MarianEncoderLayer

    return (MarianEncoderLayer, MarianDecoderLayer)


def _nats(model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Nats of all target tokens of the batch together, padding left out."""
    from torch.nn import functional

    source, target = batch
    logits = model(source, target[:, :-1])
    return functional.cross_entropy(
        logits.flatten(0, 1).float(),
        target[:, 1:].flatten(),
        ignore_index=PADDING,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def _evaluate(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    return {"nats_per_token": (_nats(model, batch), int((batch[1][:, 1:] != PADDING).sum()))}


def _decode(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model writes when it takes the likeliest token each time, and what it should; both without BEGIN.

    Always so many steps as the longest target may have: with sharded weights every rank must take part in each.
    """
    import torch

    source, target = batch
    written = torch.full_like(target[:, :1], BEGIN)
    for _ in range(TARGET_LENGTH):
        following = model(source, written)[:, -1, :VOCABULARY].argmax(dim=-1, keepdim=True)
        written = torch.cat((written, following), dim=1)
    return written[:, 1:].cpu(), target[:, 1:].cpu()


def _score(data: Translated, batches: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """BLEU and chrF, from 0 to 100, by sacrebleu with its own settings; exact_match: share that is the same string."""
    from sacrebleu import BLEU, CHRF

    written = [data.text(row) for found, _ in batches for row in found.tolist()]
    wanted = [data.text(row) for _, target in batches for row in target.tolist()]
    return {
        "bleu": BLEU().corpus_score(written, [wanted]).score,
        "chrf": CHRF().corpus_score(written, [wanted]).score,
        "exact_match": sum(one == other for one, other in zip(written, wanted, strict=True)) / len(wanted),
    }
