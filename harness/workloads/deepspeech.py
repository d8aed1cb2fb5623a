"""Recognition of spoken digits with Deep Speech 2."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.schema.suite import Choice, Recipe
from harness.strategies import ModelFacts
from harness.workloads import Workload, register, spoken_digits
from harness.workloads.character_errors import character_errors
from harness.workloads.spectrogram import Spectrograms, spectrograms
from harness.workloads.synthesis import RATE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.workloads import Batch

LABELS = 11
"""the blank (0) and ten digits, each its own number + 1"""
SMALL = {"bins": 65, "labels": LABELS, "kernels": ((5, 11), (5, 11)), "strides": ((2, 2), (2, 2))}
COARSE = {"kernels": ((5, 5), (3, 5)), "strides": ((4, 2), (2, 2))}
PUBLISHED = {"bins": 161, "labels": 29, "kernels": ((11, 41), (11, 21)), "strides": ((2, 2), (1, 2)), "channels": 32}
SIZES: dict[str, dict[str, Any]] = {
    "nano": {**SMALL, **COARSE, "channels": 4, "layers": 2, "width": 32},
    "micro": {**SMALL, "channels": 32, "layers": 2, "width": 128},
    "mini": {**SMALL, "channels": 32, "layers": 3, "width": 256},
    "5x800": {**PUBLISHED, "layers": 5, "width": 800},
}


@register(
    "deepspeech",
    sizes=SIZES,
    unit="audio_second",
    metric="cer",
    better="lower",
    target=0.25,
    recipe=Recipe(
        optimizer="adamw",
        lr=2e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 50}),
        weight_decay=0.01,
        clip=5.0,
    ),
    recipes={"5x800": Recipe(lr=3e-4)},
    global_batch=16,
    micro_batch=8,
    requires=("espeakng_loader", "jiwer"),
    source="https://github.com/espeak-ng/espeak-ng (in the package espeakng-loader)",
    licence="GPL-3.0-or-later (the program; see docs/workloads/deepspeech.md)",
    data_hashes={"0.2.4 Linux x86_64": "bae51206a541bac2b730faf7f9bec50919958867014c4b3a75df3150cdbec1dd"},
    model=ModelFacts(
        traits=frozenset({"conv2d"}),
        pieces=lambda model: model.pieces(),
        piece_count=lambda shape: shape["layers"] + 2,
    ),
)
def deepspeech(size: str, *, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Workload:
    """Which digits a voice says, with Deep Speech 2 of 0.02 to 41 M parameters and CTC.

    The held-out voices are unseen, and so are the strings that they say. A second of audio is one that is spoken:
    padding does not count. nano, micro and mini run on a CPU: 65 bins, small kernels, both convolutions halve the time.
    5x800 is the published network in the shape that open implementations train (five layers of 800 units, 161 bins,
    kernels of 41×11 and 21×11, 29 labels, of which digits use the first: 41.2 M parameters). The target is for micro
    after 280 steps.
    dropout: of what each recurrent layer reads.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    from harness.workloads.models.deepspeech import DeepSpeech2, Recurrent

    shape = SIZES[size]
    data = spectrograms(shape["bins"])
    strides = [stride for stride, _ in shape["strides"]]
    return Workload(
        build=lambda: DeepSpeech2(dropout=dropout, **shape),
        train=_samples(data.train, strides),
        held_out=_samples(data.held_out, strides),
        loss=_loss,
        evaluate=_evaluate,
        units_per_sample=torch.from_numpy(data.train.lengths / RATE),
        blocks=(Recurrent,),
        trivial=data.trivial,
        data_hash=data.data_hash,
        data_version=spoken_digits.version(),
    )


def _samples(data: Spectrograms, strides: list[int]) -> Batch:
    """Spectrograms, moments of the model's output that are spoken, labels (0 after the last), of each utterance."""
    import torch

    from harness.workloads.models.deepspeech import moments

    labels = torch.from_numpy(data.digits).long() + 1
    frames = torch.from_numpy(data.frames)
    return torch.from_numpy(data.values).float(), moments(frames, strides), labels


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean over utterances of −ln p(its digits), all alignments added (CTC); moments of padding take no part."""
    from torch.nn import functional

    spectrogram, spoken, labels = batch
    scores = model(spectrogram).float().log_softmax(dim=-1)  # on CPU the loss exists in fp32 alone
    lengths = (labels > 0).sum(dim=1)
    each = functional.ctc_loss(scores.transpose(0, 1), labels, spoken, lengths, reduction="none")
    return each.mean()


def _evaluate(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    """Character errors of the greedy path: the likeliest label of each moment, repeats and blanks left out."""
    import torch

    spectrogram, spoken, labels = batch
    found = greedy(model(spectrogram).argmax(dim=-1).tolist(), spoken.tolist())
    edits, characters = character_errors(_strings(labels.tolist()), found)
    return {"cer": (torch.tensor(edits), characters)}


def greedy(paths: list[list[int]], lengths: list[int]) -> list[str]:
    """Strings of digits along paths of labels, each cut to its length."""
    return _strings(
        [[label for label, _ in itertools.groupby(path[:n])] for path, n in zip(paths, lengths, strict=True)]
    )


def _strings(rows: list[list[int]]) -> list[str]:
    """Labels 1 to 10 are the digits 0 to 9; those beyond, of the published size alone, are characters that are none."""
    return ["".join(chr(ord("0") + label - 1) for label in row if label > 0) for row in rows]
