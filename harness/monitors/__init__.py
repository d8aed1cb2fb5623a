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

    window_begins / window_ends: around the timed window, on the clock's outside; step_ends: after each step, inside;
    after: once, off the clock, after the window: it may run training steps of its own.
    """

    def window_begins(self, training: Training) -> None:
        """The timed window is about to open."""

    def window_ends(self, training: Training, result: RankResult) -> None:
        """The timed window is closed; write what was found."""

    def after(self, training: Training, result: RankResult) -> None:
        """Off the clock: may run training steps of its own."""


registry: Registry[MonitorFacts] = Registry("monitor", "harness.monitors", MonitorFacts, "harness.monitors")
register = registry.register
