"""A record: everything one trial left behind, also when it failed. One JSON line in trials.jsonl."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from harness.schema.metrics import metric
from harness.schema.trial import Trial

SCHEMA_VERSION = 1
SCHEMA_OLDEST = 1
"""The oldest version that is still read."""


class Status(enum.StrEnum):
    """How a trial ended. Only OK has figures that may be ranked."""

    OK = "OK"
    OOM = "OOM"
    TIMEOUT = "TIMEOUT"
    DIVERGED = "DIVERGED"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_APPLIED = "NOT_APPLIED"
    PARITY_FAILED = "PARITY_FAILED"
    CRASHED = "CRASHED"
    INTERRUPTED = "INTERRUPTED"


class Phase(enum.StrEnum):
    """Where in a trial something happened, in order."""

    PLAN = "plan"
    START = "start"
    BUILD = "build"
    WRAP = "wrap"
    WARMUP = "warmup"
    APPLIED = "applied"
    TIMED = "timed"
    EXTRA = "extra"
    PARITY = "parity"
    DONE = "done"


class Read(BaseModel):
    """Base of what is read back from disk: unknown keys of newer versions are kept out, not errors."""

    model_config = ConfigDict(
        extra="ignore", populate_by_name=True, ser_json_inf_nan="null", use_attribute_docstrings=True
    )


def _measured(value: Any) -> Any:
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value


Figures = Annotated[dict[str, float], BeforeValidator(_measured)]
"""Figures by name. JSON has no NaN: one that was not finite was written as null and is read as not measured."""


class Warmup(Read):
    """How the start of the timed window was decided."""

    steps: int
    steady: bool
    """False: the cap was reached first"""
    rule: str
    """the rule in words"""
    change: float | None = None
    """relative change between the last two blocks of steps when it was decided"""


class Parity(Read):
    """Loss and gradient norm of the first steps against one process in fp32 with the same data and weights."""

    status: Literal["passed", "failed", "unchecked"]
    equivalence: str
    """declared class: exact, reordered or approximate"""
    steps: int = 0
    loss_error: float | None = None
    """largest relative difference of the loss over the steps compared"""
    grad_norm_error: float | None = None
    """largest relative difference of the gradient norm over the steps compared"""
    loss_tolerance: float | None = None
    grad_norm_tolerance: float | None = None
    loss: list[float] = []
    grad_norm: list[float] = []
    reference_loss: list[float] = []
    reference_grad_norm: list[float] = []
    reason: str | None = None
    """why failed or unchecked"""


class Evaluation(Read):
    """One held-out evaluation, off the clock."""

    step: int
    """optimizer steps done before it"""
    train_s: float
    """training seconds before it, evaluations left out"""
    metrics: Figures


class Applied(Read):
    """A fact asked for and the same fact read from live objects."""

    fact: str
    asked: Any
    found: Any
    ok: bool


class RankResult(Read):
    """What one rank left behind; written by the worker, merged into a Record by the parent."""

    rank: int
    phase: Phase
    host: str = ""
    pid: int = 0
    device: str = ""
    """name of the device, e.g. NVIDIA H200 or cpu"""
    threads: int | None = None
    cores: list[int] = []
    started_at: float | None = None
    """seconds since the epoch"""
    marks: dict[str, float] = {}
    """wall seconds since the start of the trial at which each phase ended"""
    cpu_marks: dict[str, float] = {}
    """CPU seconds of this process at which each phase ended"""
    metrics: Figures = {}
    facts: dict[str, Any] = {}
    """observations that are no metrics: warm-up decision, notes of monitors"""
    applied: list[Applied] = []
    series: dict[str, list[float | None]] = {}
    """per-step values of this rank: step, loss, grad_norm, lr, step_s, cpu_s, timed (0/1), …"""
    evaluations: list[Evaluation] = []
    status: Status | None = None
    """set where the rank itself knows how it ended"""
    error: str | None = None
    """one line"""
    traceback: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    stderr_tail: str = ""


class Try(Read):
    """One try whether a micro-batch fits: fresh processes, a few steps, nothing timed."""

    micro_batch: int
    status: Status
    """OK: it fits"""
    reason: str | None = None
    phase: Phase = Phase.DONE
    signal: str | None = None
    """signal that a rank died of by itself"""
    peak_allocated_bytes: float | None = None
    """peak of tensors as in the metric of that name, where it could be read"""


class Record(Read):
    """Everything one trial left behind. JSON key of `schema_version` is `schema`."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    trial: Trial
    status: Status
    reason: str | None = None
    """one line for a person; None for OK"""
    phase: Phase
    applied: list[Applied] = []
    parity: Parity | None = None
    warmup: Warmup | None = None
    metrics: dict[str, float] = {}
    evaluations: list[Evaluation] = []
    search: list[Try] = []
    """with `micro_batch = "max"`: every try, in order"""
    per_rank: list[RankResult] = []
    """ranks as they ended, without their series (those stand in steps.jsonl)"""
    environment: str = ""
    """machine key; the full text stands in run.json"""
    load: tuple[float, float] | None = None
    """load average at start and end"""
    artifacts: dict[str, str] = {}
    """files that the trial left: what it is → path in the run folder"""
    absent: dict[str, str] = {}
    """figures that could not be had → why; of what ranks measure it stands in their facts"""
    started_at: str = ""
    """ISO 8601, UTC"""
    ended_at: str = ""
    command: str = ""
    """what repeats this trial"""
    resumed_from: str | None = None
    """run folder whose record this is a copy of"""

    @field_validator("metrics")
    @classmethod
    def _known_and_finite(cls, metrics: dict[str, float]) -> dict[str, float]:
        for name, value in metrics.items():
            try:
                metric(name)
            except KeyError:
                raise ValueError(f"{name} is not in the dictionary of metrics") from None
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}: a metric that could not be measured is left out")
        return metrics

    def to_line(self) -> str:
        """The record as one line of JSON."""
        return self.model_dump_json(by_alias=True)


class StepSeries(Read):
    """Per-step values of one trial, reduced over ranks. One JSON line in steps.jsonl.

    columns: step (1-based), timed (0 or 1), loss (mean over ranks), penalty (if any), grad_norm, lr, step_s (slowest
    rank), cpu_s (sum).
    """

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    trial_id: str
    columns: dict[str, list[float | None]]


class Peak(Read):
    """Most that what one rank computes on does in one precision: one accelerator, or on CPU a rank's cores."""

    device: str
    """kind of device"""
    name: str = ""
    """name of the device, e.g. NVIDIA H200 or cpu"""
    cores: int | None = None
    """cores of a rank, on CPU"""
    precision: str
    """label of the precision"""
    number_format: str = ""
    """what it computes in: fp32, tf32, bf16, fp16, fp8"""
    flops_per_s: float | None = None
    """of the quickest square matrix product on this machine"""
    side: int | None = None
    """of its matrices"""
    datasheet_flops_per_s: float | None = None
    """dense, without sparsity"""
    datasheet: str = ""
    """where that stands"""
    absent: str | None = None
    """why it could not be measured"""


class RunInfo(Read):
    """run.json: what was asked, on what machine, by which command."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    suite: dict[str, Any]
    """the suite as written"""
    suite_file: str
    question: str
    group_keys: list[str] = []
    """keys whose cells are compared with one another only where equal"""
    compared_keys: list[str] = []
    """keys of the baseline: what differs between compared cells"""
    baseline: dict[str, Any] = {}
    workloads: dict[str, dict[str, Any]] = {}
    """of each workload: unit, metric, better, target, trivial baselines, source, licence, data hash"""
    peaks: list[Peak] = []
    """what MFU is measured against, of each precision and number of cores that trials use"""
    machine_key: str
    environment: dict[str, Any]
    planned: int
    """trials of the plan, UNSUPPORTED ones included, traces not"""
    command: str
    started_at: str
    ended_at: str | None = None
    """None: the run was cut off"""
    session: str = ""
    """name of the session whose runs are interleaved with this one; empty: the run is one by itself"""
    harness_version: str = ""
    parent_cpu_s: float | None = None
    """CPU seconds of the parent process over the whole run"""
