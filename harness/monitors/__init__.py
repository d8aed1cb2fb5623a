"""Monitors: each watches a trial without changing it. One file each; they never import one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.schema.registry import Registry

if TYPE_CHECKING:
    from harness.measure.training import Training
    from harness.schema.record import RankResult


@dataclass(frozen=True)
class MonitorFacts:
    """metrics: names it may write (patterns of the dictionary included)."""

    metrics: tuple[str, ...] = ()


class Monitor:
    """Base of all monitors: every hook does nothing. A hook in the window must cost next to nothing.

    window_begins / window_ends: around the timed window; stretch_begins / stretch_ends: around each uninterrupted
    stretch of it (an evaluation pauses the window); all of them off the clock; after: once, off the clock, after the
    window: it may run training steps of its own.
    """

    def window_begins(self, training: Training) -> None:
        """The timed window is about to open."""

    def stretch_begins(self, training: Training) -> None:
        """Steps are about to be timed."""

    def stretch_ends(self, training: Training) -> None:
        """The device is idle again; evaluation, if any, comes after."""

    def window_ends(self, training: Training, result: RankResult) -> None:
        """The timed window is closed; write what was found."""

    def after(self, training: Training, result: RankResult) -> None:
        """Off the clock: may run training steps of its own."""


registry: Registry[MonitorFacts] = Registry("monitor", "harness.monitors", MonitorFacts, "harness.monitors")
register = registry.register
