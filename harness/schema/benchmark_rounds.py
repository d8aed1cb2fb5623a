"""What pytest-benchmark's files do not tell of their rounds, kept in each benchmark's `extra_info` under `harness`.

pytest-benchmark keeps wall seconds. A verdict needs more: CPU seconds, whether rounds were of processes of their own,
and an anchor beside each round.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

KEY = "harness"
"""Of `extra_info` and of `machine_info`: what the harness adds stands below it."""


class BenchmarkRounds(BaseModel):
    """The rounds of one benchmark beside their wall seconds (`stats.data`).

    Lists have a value per round, or none; one is enough where all rounds are of one process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    fresh: bool = False
    """each round ran in processes of its own; else all rounds are of one process, and count as one"""
    cpu_s: tuple[float, ...] = ()
    """CPU seconds of a round ÷ its iterations: all threads, all processes that did the work"""
    anchor_s: tuple[float, ...] = ()
    """wall seconds of the anchor, code that is the same on both sides, beside the round in the same processes"""
    anchor_cpu_s: tuple[float, ...] = ()
    """its CPU seconds"""
    names: tuple[str, ...] = ()
    """of the rounds; none: they are numbered. Rounds of equal names are pairs where both sides are of one session"""
    failed: dict[str, str] = {}
    """rounds that have no seconds: name → how they ended"""
    session: str = ""
    """name of the session in which they ran interleaved with the other side's; empty: the file is one by itself"""
    device: str = ""
    """kind of device; empty: that of the file"""
