"""A trial: all that is asked of one execution of one cell, with content hashes that tell what is the same."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import ConfigDict, Field, PositiveInt, computed_field

from harness.schema.recipe_text import parts_text
from harness.schema.suite import Choice, Model, Recipe

HASH_LENGTH = 12


def content_hash(content: object) -> str:
    """First 12 hexadecimal digits of the sha256 of the canonical JSON of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


class Plugin(Model):
    """A file from outside that registers something; its bytes are part of what a trial is."""

    path: str
    sha256: str


class Trial(Model):
    """All that is asked of one execution: cell (everything but seed and repeat), seed and repeat."""

    model_config = ConfigDict(extra="ignore")  # `cell` and `id` stand in the JSON and are computed anew

    kind: Literal["measure", "reference", "fit", "trace"] = "measure"
    """reference: one process in fp32 whose loss and gradient norm others are compared with; fit: does it fit?; trace:
    a few steps under the profiler, nothing is timed"""
    workload: Choice
    size: str
    strategy: Choice
    precision: Choice
    techniques: tuple[Choice, ...] = ()
    recipe: Recipe
    """complete: the workload's defaults filled in"""
    global_batch: PositiveInt
    batch_per_device: PositiveInt | None = None
    """where the suite gives samples per device (weak scaling): global_batch ÷ devices of the cell"""
    micro_batch: PositiveInt
    among: tuple[PositiveInt, ...] = ()
    """with `micro_batch = "max"` the sizes that are tried; empty: micro_batch was given"""
    searched: bool = False
    """whether micro_batch was found among them; until then it is the largest of them"""
    accumulation: PositiveInt
    """forward passes per rank and optimizer step: global_batch ÷ (micro_batch × ranks that take data)"""
    steps: PositiveInt
    warmup_steps: int | None = None
    """None: found"""
    eval_every: int | None = None
    """None: once, after `steps` steps; 0: never"""
    parity_steps: PositiveInt = 5
    device: str
    """kind of device: cpu, cuda, …"""
    devices: PositiveInt
    """devices this trial may use"""
    processes: PositiveInt
    """ranks: one per device, or one"""
    model_ranks: PositiveInt = 1
    """neighbouring ranks that hold one copy of the model together and take the same data"""
    shares: PositiveInt = 1
    """on CPU: shares of the cores per process; a share is cores ÷ device_slots"""
    device_slots: PositiveInt
    """devices the suite asks for: on CPU the cores are divided by this"""
    devices_asked: PositiveInt | None = None
    """the cell's devices where the suite compares numbers of devices: device_slots is then the most of them, so that a
    device is the same share of the cores everywhere; None: device_slots"""
    plugins: tuple[Plugin, ...] = ()
    seed: int = Field(ge=0)
    repeat: int = Field(ge=0)
    memory_limit_bytes: PositiveInt | None = None
    """per device; None: as much as there is"""
    timeout_s: float = 300.0
    """not part of the hashes: it does not change what is measured"""
    varied: tuple[str, ...] = ()
    """keys of the recipe in which the suite's cells of this workload differ: the label tells them; not in the hashes"""

    def _asked(self) -> dict[str, object]:
        unasked = {"seed", "repeat", "timeout_s", "varied", "cell", "id", "plugins"}
        content = self.model_dump(mode="json", exclude=unasked)
        content["plugins"] = [plugin.sha256 for plugin in self.plugins]
        del content["searched"]
        if not self.recipe.regularizers:  # as it was before there were any: what is stored is found again
            content["recipe"].pop("regularizers", None)
        if self.among:  # "max" was asked, whatever is found: known before it is
            del content["micro_batch"], content["accumulation"]
        return content

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cell(self) -> str:
        """Content hash of all that is asked but seed and repeat."""
        return content_hash(self._asked())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def id(self) -> str:
        """Content hash of cell, seed and repeat: what `--resume` and `rerun` go by."""
        return content_hash([self._asked(), self.seed, self.repeat])

    @property
    def measured_cell(self) -> str:
        """Content hash of the cell that is measured: a trace is of the same, but a trial of its own."""
        return self.model_copy(update={"kind": "measure"}).cell

    @property
    def lasting_cell(self) -> str:
        """Content hash of the cell without the bytes of its plug-ins, which change with the code: what stays the same
        over commits.
        """
        return self.model_copy(update={"plugins": ()}).cell

    @property
    def data_ranks(self) -> int:
        """Shares that each step's data are divided into."""
        return self.processes // self.model_ranks

    @property
    def cell_devices(self) -> int:
        """Devices of the cell in the suite; a one-process strategy uses fewer (`devices`)."""
        return self.devices_asked or self.device_slots

    @property
    def label(self) -> str:
        """Short text for people: `gpt/nano ddp bf16`, what recipes differ in, else optimizer options and regularizers,
        devices where compared.
        """
        parts = [f"{self.workload.label}/{self.size}", self.strategy.label, self.precision.label]
        optimizer, regularizers = self.recipe.optimizer, self.recipe.regularizers or ()
        parts += [technique.label for technique in self.techniques]
        parts += [optimizer.label] if optimizer and optimizer.options and "optimizer" not in self.varied else []
        parts += [each.label for each in regularizers] if "regularizers" not in self.varied else []
        parts += [self.recipe_told] if self.varied else []
        parts += [f"devices={self.devices_asked}"] if self.devices_asked else []
        parts += [f"batch_per_device={self.batch_per_device}"] if self.batch_per_device else []
        parts += [f"micro_batch {self.micro_batch_text}"] if self.among else []
        parts += ["trace"] if self.kind == "trace" else []
        return " ".join(parts)

    @property
    def recipe_told(self) -> str:
        """What recipes of the suite differ in, of this trial: `sgd(momentum=0.9) lr 0.1`; empty where in nothing."""
        return parts_text(self.recipe, self.varied)

    @property
    def micro_batch_text(self) -> str:
        """The micro-batch for people: `8`; `max → 64` where it was found, `max` as long as it is not."""
        if not self.among:
            return str(self.micro_batch)
        return f"max → {self.micro_batch}" if self.searched else "max"

    def with_micro_batch(self, micro_batch: int, **changes: object) -> Trial:
        """The same with another micro-batch; accumulation keeps the maths the same."""
        share = self.micro_batch * self.accumulation
        update = {"micro_batch": micro_batch, "accumulation": share // micro_batch, **changes}
        return self.model_copy(update=update)

    def horizon(self, warmup_max: int) -> int:
        """Steps the learning-rate schedule is laid over: the longest this trial can train."""
        return self.steps + (self.warmup_steps if self.warmup_steps is not None else warmup_max)

    def evaluates_at(self, step: int, warmup_max: int) -> bool:
        """Whether held-out evaluation takes place after this many optimizer steps (the same for all cells).

        With a found warm-up only the first `steps` steps are sure to be reached by every cell.
        """
        every, last = self.steps if self.eval_every is None else self.eval_every, self.last_evaluation(warmup_max)
        return every > 0 and step > 0 and step <= last and (step % every == 0 or step == last)

    def last_evaluation(self, warmup_max: int) -> int:
        """The optimizer step after which evaluation takes place for the last time, where it does at all."""
        return self.steps if self.warmup_steps is None else self.horizon(warmup_max)
