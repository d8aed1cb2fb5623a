"""Measured rounds: what two versions are compared by. One JSON line per cell and round, from any source.

Records of run folders are turned into such lines (`analyse/sides`); anybody may write them by hand: the JSON schema is
exported to docs/schema/measured.json.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.schema.record import SCHEMA_VERSION


class Learned(BaseModel):
    """What a round is as one of learning. Rounds of one seed are pairs: the same initial weights and order of data.

    Its figures stand in `metrics`: loss_area, eval_<metric>, steps_to_target, time_to_target_s (absent: not reached).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: Annotated[int, Field(ge=0)]
    """of initial weights and order of data; several rounds of a seed count as one, their mean"""
    steps: Annotated[int, Field(ge=1)]
    """optimizer steps that loss_area is the mean over, and for which the target was watched for"""
    train_s: float | None = None
    """training seconds of these steps, evaluations left out"""
    first_loss: float | None = None
    """training loss of the first step, before anything is learned: where it differs, the rounds are no pair"""
    metric: str = ""
    """the held-out metric, without `eval_`; empty: nothing was evaluated"""
    better: Literal["higher", "lower"] = "lower"
    """which way the held-out metric is better"""
    target: float | None = None
    """value of the held-out metric that is to be reached; None: there is none"""


class Measured(BaseModel):
    """The figures of one round of one cell: fresh processes, once."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    schema_version: Annotated[int, Field(alias="schema", ge=1)] = SCHEMA_VERSION
    cell: Annotated[str, Field(min_length=1)]
    """what was measured; cells of the same name on both sides are compared"""
    label: str = ""
    """the cell in words; left out: its name"""
    round: Annotated[str, Field(min_length=1)]
    """rounds of the same name are pairs, where both sides are of one session"""
    session: Annotated[str, Field(min_length=1)]
    """rounds of one session ran interleaved, in random order: what the machine did to a round hits both sides alike"""
    machine: str = ""
    """key of the machine: figures of different keys are not compared"""
    environment: dict[str, Any] = {}
    """what the machine is, so that a difference can be named"""
    status: str = "OK"
    """how the round ended; only OK has figures that count"""
    reason: str = ""
    """why it did not end OK, in words"""
    anchor: bool = False
    """a cell whose code is the same on both sides: what other sessions are compared through"""
    device: str = "cpu"
    """kind of device: on cpu, CPU time decides and wall time only where it differs by a tenth"""
    learned: Learned | None = None
    """what the round is as one of learning; left out: what it learned is not compared"""
    metrics: dict[str, float | None] = {}
    """figures in SI units, by their names in the dictionary of metrics"""
