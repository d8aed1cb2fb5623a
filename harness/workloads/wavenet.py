"""Synthesis of speech, sample by sample, with WaveNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.schema.suite import Choice, Recipe
from harness.workloads import Workload, register, spoken_digits
from harness.workloads.mu_law import LEVELS, SILENT, crops, decode, passages, trivial, write_wav
from harness.workloads.synthesis import RATE
from harness.workloads.text import evenly

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.workloads import Batch

SIZES: dict[str, dict[str, Any]] = {
    "nano": {"layers": 3, "stacks": 1, "residual": 32, "gate": 32, "skip": 32, "length": 256},
    "micro": {"layers": 16, "stacks": 2, "residual": 32, "gate": 32, "skip": 32, "length": 1024},
    "mini": {"layers": 20, "stacks": 2, "residual": 64, "gate": 64, "skip": 128, "length": 2048},
    "30": {"layers": 30, "stacks": 3, "residual": 512, "gate": 512, "skip": 256, "length": 4096},
}
HELD_OUT_CROPS = 96
GENERATED = 2400
"""samples in the sound that a trained model leaves: 0.3 s"""


@register(
    "wavenet",
    sizes=SIZES,
    unit="audio_second",
    metric="bits_per_sample",
    better="lower",
    target=5.7,
    recipe=Recipe(
        optimizer="adamw",
        lr=8e-3,
        schedule=Choice(name="cosine", options={"warmup_steps": 20}),
        weight_decay=0.01,
        clip=1.0,
    ),
    recipes={"nano": Recipe(lr=3e-2), "30": Recipe(lr=2e-4)},
    global_batch=8,
    micro_batch=4,
    requires=("espeakng_loader",),
    source="https://github.com/espeak-ng/espeak-ng (in the package espeakng-loader)",
    licence="GPL-3.0-or-later (the program; see docs/workloads/wavenet.md)",
    data_hashes={"0.2.4 Linux x86_64": "a84180036561aa5a723bf45610a7d840bcf953faae8c50d2a435f7cf4ab96dfd"},
)
def wavenet(
    size: str,
    *,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Workload:
    """The next sample of speech in 256 levels (mu-law), with a WaveNet of 0.03 to 43 M parameters.

    A training sample is a crop of an utterance, with `length` predictions; the 96 held-out ones are of unseen voices.
    nano, micro and mini run on a CPU. 30 is the shape of the published text-to-speech network (three times the
    dilations 1 to 512; 512 channels, 256 in the skips) without its linguistic inputs: 43.3 M parameters. The target is
    for micro after 240 steps. A trained model leaves a sound of 0.3 s, drawn from its own predictions.
    dropout: of what each layer passes on; label_smoothing: of the training loss.
    Raises KeyError for a size that is not in `SIZES`.
    """
    import torch

    from harness.workloads.models.wavenet import Layer, WaveNet

    shape = dict(SIZES[size])
    length = shape.pop("length")
    data = passages()
    held_out = evenly(crops(data.held_out, length), HELD_OUT_CROPS)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return nats(model, batch, label_smoothing)

    return Workload(
        build=lambda: WaveNet(levels=LEVELS, dropout=dropout, **shape),
        train=(torch.from_numpy(crops(data.train, length)),),
        held_out=(torch.from_numpy(held_out),),
        loss=loss,
        evaluate=_evaluate,
        units_per_sample=length / RATE,
        blocks=(Layer,),
        trivial=trivial(data, held_out),
        data_hash=data.data_hash,
        data_version=spoken_digits.version(),
        artifacts=_leave_sound,
    )


def nats(model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Mean over all predictions of −ln p(the level that follows)."""
    from torch.nn import functional

    levels = batch[0].long()
    logits = model(levels[:, :-1]).float()
    return functional.cross_entropy(logits, levels[:, 1:], label_smoothing=label_smoothing)


def _evaluate(model: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    predictions = batch[0].shape[0] * (batch[0].shape[1] - 1)
    return {"bits_per_sample": (nats(model, batch) / math.log(2) * predictions, predictions)}


def generate(model: nn.Module, count: int, generator: torch.Generator) -> Tensor:
    """So many levels, each drawn from what the model says follows all before it; the first follows silence.

    (count,), int64, on the CPU. Every call of the model computes one moment (see models/wavenet.Memory).
    """
    import torch

    from harness.workloads.models.wavenet import Memory, WaveNet

    (net,) = (module for module in model.modules() if isinstance(module, WaveNet))
    memory, device = Memory(net.dilations), next(model.parameters()).device
    level = torch.full((1, 1), SILENT)
    levels = torch.empty(count, dtype=torch.int64)
    for number in range(count):
        chances = model(level.to(device), memory)[:, :, 0].float().softmax(dim=1).cpu()
        level = torch.multinomial(chances, 1, generator=generator)
        levels[number] = level
    return levels


def _leave_sound(model: nn.Module, folder: Path) -> Mapping[str, Path]:
    """Write what the model says, always drawn with the same random numbers."""
    import torch

    path = folder / "speech.wav"
    levels = generate(model, GENERATED, torch.Generator().manual_seed(0))
    write_wav(path, decode(levels.numpy()))
    return {"generated speech": path}
