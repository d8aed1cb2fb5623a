"""How strategies, precisions and parts look: one hue per strategy on the whole page, one shape per precision.

Hues are CSS variables (`--s0` …) that the stylesheet defines for light and dark; told apart by people who see fewer
colours, and never the only sign: labels and shapes say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PREFERRED = ("single", "ddp", "fsdp", "dp")
HUES = 8
SHAPES = {
    "fp32": "circle",
    "bf16": "diamond",
    "fp16": "triangle-up",
    "tf32": "triangle-right",
    "bf16_weights": "square",
    "fp8": "triangle-down",
}
DASHES = {"fp32": [1, 0], "bf16": [5, 3], "fp16": [2, 2], "tf32": [9, 2], "bf16_weights": [7, 2, 1, 2], "fp8": [1, 3]}
PARTS = {
    "data_wait_s": ("waiting for data", "var(--p0)"),
    "forward_s": ("forward", "var(--p1)"),
    "backward_s": ("backward", "var(--p2)"),
    "forward_backward_s": ("forward and backward in turn", "var(--p3)"),
    "optimizer_s": ("optimizer", "var(--p4)"),
}
CHANGES = PARTS | {"rest": ("rest", "var(--p5)")}
"""Parts of the difference of two steps; rest: what no part of them accounts for."""
KINDS = {
    "memory_parameters_bytes": ("parameters", "var(--k0)"),
    "memory_gradients_bytes": ("gradients", "var(--k1)"),
    "memory_optimizer_bytes": ("optimizer state", "var(--k2)"),
    "memory_activations_bytes": ("activations", "var(--k3)"),
    "memory_other_bytes": ("other", "var(--k4)"),
}


@dataclass(frozen=True)
class Look:
    """slots: strategy → number of its hue; the last one is shared by all strategies beyond the eighth.

    classes: cell (hash) → CSS classes by which the page's filter finds what belongs to it (see `chips`).
    """

    slots: dict[str, int]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def slot(self, strategy: str) -> int:
        """Number of the strategy's hue."""
        return self.slots.get(strategy, HUES)

    def colour(self, strategy: str) -> str:
        """The strategy's hue."""
        return f"var(--s{self.slot(strategy)})"

    def css(self, cells: Iterable[str]) -> str:
        """Classes by which the page's filter finds what belongs to these cells."""
        return " ".join(dict.fromkeys(name for cell in cells for name in self.classes.get(cell, ())))


def look_of(strategies: Iterable[str], idle: Iterable[str] = ()) -> Look:
    """Give hues to the strategies of a page: known ones their own, others by name in what is left.

    idle: those of them that did not run here come last: what is not drawn needs no hue.
    """
    last = frozenset(idle)
    names = sorted(
        set(strategies), key=lambda name: (name in last, PREFERRED.index(name) if name in PREFERRED else HUES, name)
    )
    taken = {name: PREFERRED.index(name) for name in names if name in PREFERRED and name not in last}
    free = iter([*range(len(PREFERRED), HUES), *(hue for hue in range(len(PREFERRED)) if hue not in taken.values())])
    return Look({name: taken[name] if name in taken else next(free, HUES) for name in names})


def shape(precision: str) -> str:
    """Symbol of a precision."""
    return SHAPES.get(precision, "cross")


def dash(precision: str) -> list[int]:
    """Dashes of a precision's line."""
    return DASHES.get(precision, [4, 1, 1, 1])
