"""What planning knows of a cell, and how strategies, precisions and techniques say that they cannot run in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.machine.packages import not_installed

if TYPE_CHECKING:
    from torch import nn


class Unsupported(Exception):
    """The model cannot be executed so, with the reason: raised while wrapping, the record becomes UNSUPPORTED.

    What planning can know already is said there (`Requirements.impossible`); this is for what only the built model
    tells.
    """


@dataclass(frozen=True)
class ModelFacts:
    """What a workload says of its model to those who divide or convert it; empty: it says nothing.

    traits: words such as `transformer`, `conv2d`, `batchnorm`, `classes` (each sample has one, see `Workload.classes`);
    columns, rows: linear layers, as the ends of their names (`attention.q`), whose outputs (columns) or inputs (rows)
    tensor parallelism divides, so that the output of a columns layer only ever meets a rows layer; pieces: model →
    modules that make the whole forward pass when called one after another, which pipelines cut into stages;
    piece_count: shape of a size → how many those are.
    """

    traits: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    pieces: Callable[[Any], Sequence[nn.Module]] | None = None
    piece_count: Callable[[Mapping[str, Any]], int] | None = None


@dataclass(frozen=True)
class Setting:
    """What planning knows of a cell on this machine.

    kind: of device (cpu, cuda, …); devices: of the cell; shape: the model's numbers at this size (layers, heads, …);
    capability: compute capability of NVIDIA's devices, of the least of them; None: the device is none of NVIDIA's.
    """

    kind: str
    devices: int
    strategy: str = "single"
    precision: str = "fp32"
    techniques: tuple[str, ...] = ()
    workload: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    model: ModelFacts = field(default_factory=ModelFacts)
    global_batch: int = 1
    micro_batch: int = 1
    capability: tuple[int, int] | None = None

    def below_capability(self, least: tuple[int, int], why: str) -> str | None:
        """Why a device is not enough for what needs at least this compute capability of NVIDIA's, or None."""
        if self.capability is not None and self.capability >= least:
            return None
        found = f"this one is of {_dotted(self.capability)}" if self.capability else f"this device is {self.kind}"
        return f"{why} of compute capability {_dotted(least)} or higher: {found}"


@dataclass(frozen=True)
class Requirements:
    """What a strategy, precision or technique needs, known without running it.

    accelerator_only: reason why this cannot run on CPU, shown in the record; impossible: (setting, **options) → why
    this combination cannot run, or None; requires: packages as they are imported; install: command that adds them.
    """

    accelerator_only: str | None = None
    impossible: Callable[..., str | None] | None = None
    requires: tuple[str, ...] = ()
    install: str = ""

    def against(self, setting: Setting, options: Mapping[str, object]) -> str | None:
        """Why this cannot run in that setting with these options, or None."""
        if setting.kind == "cpu" and self.accelerator_only:
            return self.accelerator_only
        reasons = []
        if why := not_installed(self.requires, self.install):
            reasons.append(why)
        if self.impossible and (why := self.impossible(setting, **options)):
            reasons.append(why)
        return "; ".join(reasons) or None


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
